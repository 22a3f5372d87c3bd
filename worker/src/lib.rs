//! Nightread.
