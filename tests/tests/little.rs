//! A worker with little: the small forms of the storms. `make soak` runs the long ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use nightread_tests::account::Account;
use nightread_tests::cgroup::Room;
use nightread_tests::little::Want;
use nightread_tests::{little, little_room};

/// Bytes that a worker with eight permits is said to need.
const GROUP: u64 = 256 << 20;

/// The same as private memory, in which the stacks of its threads count whole.
const PRIVATE: u64 = 384 << 20;

fn is_sound(account: &Account) {
    println!("{account}");
    assert_eq!(account.problems, Vec::<String>::new());
    assert_eq!(account.ended(), account.announced);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_until_its_heartbeats_are_lost_goes_on_and_loses_nothing() {
    let test = "a_worker_that_is_stopped_until_its_heartbeats_are_lost_goes_on_and_loses_nothing";
    let Some(account) = little::stopped(test, 60, Duration::from_secs(10), 2).await else { return };
    is_sound(&account);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_an_hour_off_blames_no_study() {
    let test = "a_clock_an_hour_off_blames_no_study";
    let Some(account) = little::clock(test, 60, Duration::from_secs(4)).await else { return };
    is_sound(&account);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_the_kernel_kills_for_want_of_memory_lose_nothing() {
    let test = "workers_that_the_kernel_kills_for_want_of_memory_lose_nothing";
    let Some(account) = little::out_of_memory(test, 60, 3, Want::Killed).await else { return };
    is_sound(&account);
    assert_eq!(account.kills, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_that_get_no_more_memory_end_and_lose_nothing() {
    let test = "workers_that_get_no_more_memory_end_and_lose_nothing";
    let Some(account) = little::out_of_memory(test, 60, 3, Want::Refused).await else { return };
    is_sound(&account);
    assert_eq!(account.kills, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_descriptors_are_told_at_the_start_and_just_enough_are_enough() {
    let test = "too_few_descriptors_are_told_at_the_start_and_just_enough_are_enough";
    let Some(account) = little::descriptors(test, 100).await else { return };
    is_sound(&account);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_images_are_read_in_the_memory_that_is_said_to_be_enough() {
    let test = "large_images_are_read_in_the_memory_that_is_said_to_be_enough";
    let room = Room::new(GROUP, PRIVATE);
    let Some(account) = little_room::memory(test, 60, room).await else { return };
    println!("{account}");
    assert_eq!(account.problems, Vec::<String>::new());
}

/// What the test above falls back to where no control group may be made, on any machine.
#[tokio::test(flavor = "multi_thread")]
async fn large_images_are_read_in_little_private_memory() {
    let test = "large_images_are_read_in_little_private_memory";
    let Some(account) = little_room::memory(test, 30, Room::Process(PRIVATE)).await else { return };
    println!("{account}");
    assert_eq!(account.problems, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_again_and_again_costs_no_study() {
    let test = "a_disk_that_is_full_again_and_again_costs_no_study";
    let Some(account) = little_room::full_disk(test, 60, 2, Duration::from_secs(4)).await else { return };
    println!("{account}");
    assert_eq!(account.problems, Vec::<String>::new());
}
