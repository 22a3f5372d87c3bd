//! The rooms of a crate, and which of its files names which: read from the tokens of its source, tests left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module's path below the crate: `["pipeline", "process"]`.
type Module = Vec<String>;

/// The files of one crate.
#[derive(Default)]
pub struct House {
    /// Where each module is.
    files: BTreeMap<Module, String>,
    /// The other files that each file names.
    pub names: BTreeMap<String, BTreeSet<String>>,
    /// Every path that each file names below the crate: `["console", "say"]`.
    pub paths: BTreeMap<String, BTreeSet<Module>>,
    /// Every identifier in each file.
    pub words: BTreeMap<String, BTreeSet<String>>,
    /// The modules of the crate, in the order in which `lib.rs` has them.
    pub rooms: Vec<String>,
}

impl House {
    /// Reads every source file below `src`.
    pub fn read(src: &Path) -> Self {
        let mut sources = Vec::new();
        walk(src, &mut sources);
        let texts = sources.into_iter().map(|path| {
            let name = path.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        });
        Self::of(&texts.collect())
    }

    /// The house of these files, by their paths below `src`.
    pub fn of(texts: &BTreeMap<String, String>) -> Self {
        let files = texts.keys().map(|file| (module_of(file), file.clone())).collect();
        let mut house = Self { files, ..Self::default() };
        for (file, text) in texts {
            let tokens = TokenStream::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
            let tokens = without_tests(tokens);
            let (mut paths, mut words) = (Vec::new(), BTreeSet::new());
            collect(&tokens, &mut paths);
            identifiers(&tokens, &mut words);
            let own = module_of(file);
            let paths: BTreeSet<Module> = paths.iter().map(|path| absolute(&own, path)).collect();
            let named = paths.iter().filter_map(|path| house.file_of(path));
            let named = named.filter(|named| named != file).collect();
            if file == "lib.rs" {
                house.rooms = rooms(text);
            }
            house.names.insert(file.clone(), named);
            house.paths.insert(file.clone(), paths);
            house.words.insert(file.clone(), words);
        }
        house
    }

    /// The file that holds what a path below the crate names.
    fn file_of(&self, path: &Module) -> Option<String> {
        (1..=path.len()).rev().find_map(|length| self.files.get(&path[..length]).cloned())
    }

    /// Files that name each other in a circle, each circle sorted.
    pub fn circles(&self) -> Vec<Vec<&str>> {
        let reaches: BTreeMap<&str, BTreeSet<&str>> =
            self.names.keys().map(|file| (file.as_str(), self.reached_from(file))).collect();
        let mut circles = BTreeSet::new();
        for (file, reached) in &reaches {
            let circle: BTreeSet<&str> =
                reached.iter().copied().filter(|other| reaches[other].contains(file)).collect();
            if circle.contains(file) {
                circles.insert(circle.into_iter().collect::<Vec<_>>());
            }
        }
        circles.into_iter().collect()
    }

    fn reached_from(&self, file: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut open: Vec<&str> = self.names[file].iter().map(String::as_str).collect();
        while let Some(next) = open.pop() {
            if reached.insert(next) {
                open.extend(self.names[next].iter().map(String::as_str));
            }
        }
        reached
    }

    /// Files that name something in a room below their own.
    pub fn climbs(&self) -> Vec<String> {
        let rank = |file: &str| {
            let room = file.split(['/', '.']).next().unwrap_or_default();
            self.rooms.iter().position(|known| known == room)
        };
        let mut climbs = Vec::new();
        for (file, named) in &self.names {
            for other in named {
                if let (Some(own), Some(theirs)) = (rank(file), rank(other))
                    && theirs > own
                {
                    climbs.push(format!("{file} names {other}"));
                }
            }
        }
        climbs
    }
}

/// What a path of `crate`, `super` or `self` is below the crate, named in the module `own`.
fn absolute(own: &Module, path: &[String]) -> Module {
    let mut place = own.clone();
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        match first.as_str() {
            "crate" => place.clear(),
            "super" => drop(place.pop()),
            "self" => {}
            _ => break,
        }
        rest = after;
    }
    place.extend(rest.iter().cloned());
    place
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") && !is_test(&path) {
            found.push(path);
        }
    }
}

/// Tests may name what they test and what they test it with.
fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().unwrap().to_str().unwrap();
    stem == "tests" || stem.ends_with("_tests")
}

fn module_of(file: &str) -> Module {
    let path = file.strip_suffix(".rs").unwrap();
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if ["lib", "main"].contains(&path) { Vec::new() } else { path.split('/').map(str::to_owned).collect() }
}

fn rooms(lib: &str) -> Vec<String> {
    let named = lib.lines().filter_map(|line| line.strip_prefix("pub mod "));
    named.filter_map(|rest| rest.strip_suffix(';')).map(str::to_owned).collect()
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

/// What is left when every item behind `#[cfg(test)]` is gone.
fn without_tests(tokens: TokenStream) -> Vec<TokenTree> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_test = is_punct(tokens.get(at), '#')
            && matches!(tokens.get(at + 1), Some(TokenTree::Group(group)) if group.stream().to_string().replace(' ', "") == "cfg(test)");
        if !is_test {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        // The item ends with its block or its semicolon.
        at += 2;
        while at < tokens.len() {
            let ends = is_punct(tokens.get(at), ';')
                || matches!(&tokens[at], TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
            at += 1;
            if ends {
                break;
            }
        }
    }
    kept
}

/// Every identifier, wherever it stands.
fn identifiers(tokens: &[TokenTree], words: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Ident(word) => drop(words.insert(word.to_string())),
            TokenTree::Group(group) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                identifiers(&inner, words);
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
}

/// Every path that begins with `crate`, `super` or `self`, use trees spread out.
fn collect(tokens: &[TokenTree], paths: &mut Vec<Vec<String>>) {
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Ident(word)
                if ["crate", "super", "self"].contains(&word.to_string().as_str())
                    && is_path_sign(tokens, at + 1) =>
            {
                at = path(tokens, at, Vec::new(), paths);
            }
            TokenTree::Group(group) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                collect(&inner, paths);
                at += 1;
            }
            _ => at += 1,
        }
    }
}

fn is_path_sign(tokens: &[TokenTree], at: usize) -> bool {
    is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')
}

/// Reads one path from `at` on; gives where it ends.
fn path(tokens: &[TokenTree], mut at: usize, mut before: Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    while let Some(TokenTree::Ident(word)) = tokens.get(at) {
        before.push(word.to_string());
        at += 1;
        if !is_path_sign(tokens, at) {
            break;
        }
        at += 2;
        if let Some(TokenTree::Group(group)) = tokens.get(at)
            && group.delimiter() == Delimiter::Brace
        {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            for branch in inner.split(|token| is_punct(Some(token), ',')) {
                path(branch, 0, before.clone(), paths);
            }
            return at + 1;
        }
    }
    paths.push(before);
    at
}
