//! How the tests of the house read Rust: as tokens, so that comments, strings and whatever
//! is compiled for tests alone are not in the way, and so that a path is found wherever
//! it is written: in a `use` line, in its braces, in an expression, in a macro.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The parts of a path, such as `["crate", "store", "Store"]`.
pub(crate) type Parts = Vec<String>;

/// Every path of a source text, with the braces of `use` lines resolved, and outside of
/// items that are compiled for tests alone. A single name is a path too.
#[track_caller]
pub(crate) fn paths(source: &str) -> Vec<Parts> {
    let mut found = Vec::new();
    collect(&tokens(source), &mut found);
    found
}

/// What the strings of a source text say, also those of `#[error(...)]`, outside of tests
/// and of what implements `Debug`, which is for developers.
#[track_caller]
pub(crate) fn texts(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect_texts(&tokens_and_errors(parse(source)), &mut found);
    found
}

fn collect_texts(tokens: &[TokenTree], found: &mut Vec<String>) {
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Literal(literal) => found.push(literal.to_string()),
            TokenTree::Group(group) if !implements_debug(&tokens[..at]) => {
                collect_texts(&tokens_and_errors(group.stream()), found);
            }
            TokenTree::Group(_) | TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

/// Whether these tokens end with `impl ... Debug for ...`.
fn implements_debug(before: &[TokenTree]) -> bool {
    let words = before
        .iter()
        .rev()
        .take_while(|token| !matches!(token, TokenTree::Group(_)) && !is_punct(token, ';'));
    let words: Vec<_> = words.map(ToString::to_string).collect();
    words.windows(2).any(|pair| pair == ["for", "Debug"]) && words.iter().any(|it| it == "impl")
}

/// The modules that a source text declares (`mod name;`), outside of tests.
#[track_caller]
pub(crate) fn modules(source: &str) -> BTreeSet<String> {
    let tokens = tokens(source);
    let names = tokens.windows(3).filter_map(|window| match window {
        [TokenTree::Ident(word), TokenTree::Ident(name), end]
            if word == "mod" && is_punct(end, ';') =>
        {
            Some(name.to_string())
        }
        _ => None,
    });
    names.collect()
}

/// The tokens outside of tests.
#[track_caller]
fn tokens(source: &str) -> Vec<TokenTree> {
    without_tests(parse(source))
}

#[track_caller]
fn parse(source: &str) -> TokenStream {
    source.parse().unwrap_or_else(|e| panic!("no Rust: {e}"))
}

fn without_tests(stream: TokenStream) -> Vec<TokenTree> {
    filtered(stream, |_| false)
}

/// Outside of tests, with the texts of errors, which are in attributes.
fn tokens_and_errors(stream: TokenStream) -> Vec<TokenTree> {
    filtered(stream, |attribute| attribute.starts_with("error("))
}

fn filtered(stream: TokenStream, kept_attribute: fn(&str) -> bool) -> Vec<TokenTree> {
    let mut kept = Vec::new();
    let mut rest = stream.into_iter().peekable();
    while let Some(token) = rest.next() {
        let attribute = match (&token, rest.peek()) {
            (TokenTree::Punct(sign), Some(TokenTree::Group(group))) if sign.as_char() == '#' => {
                Some(group.stream().to_string().replace(' ', ""))
            }
            _ => None,
        };
        match attribute.as_deref() {
            // The item ends with its braces or its semicolon.
            Some("cfg(test)" | "test") => drop(rest.find(is_end_of_item)),
            Some(attribute) if kept_attribute(attribute) => kept.extend(rest.next()),
            // Another attribute is no code: a reason may speak of paths.
            Some(_) => drop(rest.next()),
            None => kept.push(token),
        }
    }
    kept
}

fn is_end_of_item(token: &TokenTree) -> bool {
    match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        other => is_punct(other, ';'),
    }
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

/// Adds the paths of these tokens, and of the groups among them.
fn collect(tokens: &[TokenTree], found: &mut Vec<Parts>) {
    let mut rest = tokens;
    while let Some((token, after)) = rest.split_first() {
        rest = match token {
            TokenTree::Ident(_) => path(&Parts::new(), rest, found),
            TokenTree::Group(group) => {
                collect(&without_tests(group.stream()), found);
                after
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => after,
        };
    }
}

/// Adds the path that begins here, or the paths if it ends in braces; returns what follows.
fn path<'t>(before: &Parts, tokens: &'t [TokenTree], found: &mut Vec<Parts>) -> &'t [TokenTree] {
    let mut parts = before.clone();
    let mut rest = tokens;
    loop {
        match rest.split_first() {
            Some((TokenTree::Ident(name), after)) => {
                if name != "self" {
                    parts.push(name.to_string());
                }
                rest = after;
            }
            Some((TokenTree::Group(group), after)) if group.delimiter() == Delimiter::Brace => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                for branch in inner.split(|token| is_punct(token, ',')) {
                    path(&parts, branch, found);
                }
                return after;
            }
            _ => break,
        }
        match rest {
            [first, second, after @ ..] if is_punct(first, ':') && is_punct(second, ':') => {
                rest = after;
            }
            _ => break,
        }
    }
    if !parts.is_empty() {
        found.push(parts);
    }
    rest
}

/// One crate of the house: its root file, and its other files by the path of their module.
pub(crate) struct Crate {
    pub root: String,
    /// Such as `["login", "plan"]`, and what the file says.
    pub files: BTreeMap<Parts, String>,
}

/// Floors of rooms, from the top down: a room uses only what is on floors below its own.
pub(crate) type Floors = Vec<Vec<String>>;

impl Crate {
    /// What is wrong with the arrows of this crate, a line for each.
    #[track_caller]
    pub(crate) fn wrong_arrows(&self, floors: &Floors) -> BTreeSet<String> {
        let floor = |room: &str| floors.iter().position(|rooms| rooms.iter().any(|it| it == room));
        let rooms = modules(&self.root);
        let mut wrong: BTreeSet<_> = rooms
            .iter()
            .filter(|room| floor(room).is_none())
            .map(|room| format!("{room} is not in the drawing"))
            .collect();
        for (module, source) in &self.files {
            let Some(here) = module.first().filter(|room| rooms.contains(*room)) else {
                wrong.insert(format!("{} belongs to no room", module.join("::")));
                continue;
            };
            for used in self.rooms_used_by(module, source) {
                if used != *here && floor(&used) <= floor(here) {
                    wrong.insert(format!("{} uses {used}", module.join("::")));
                }
            }
        }
        wrong
    }

    /// The rooms of the crate that a file names, also by what the root makes of them
    /// (`use` and `pub use`).
    #[track_caller]
    fn rooms_used_by(&self, module: &Parts, source: &str) -> BTreeSet<String> {
        let rooms = modules(&self.root);
        let at_the_root: BTreeMap<_, _> = paths(&self.root)
            .into_iter()
            .filter(|parts| parts.len() > 1 && rooms.contains(&parts[0]))
            .filter_map(|parts| Some((parts.last()?.clone(), parts[0].clone())))
            .collect();
        let named = paths(source).into_iter().filter_map(|parts| {
            let parts = absolute(module, &parts)?;
            let name = parts.first()?;
            rooms.get(name).or_else(|| at_the_root.get(name)).cloned()
        });
        named.collect()
    }
}

/// The path from the crate's root, if it is one into this crate.
fn absolute(module: &[String], parts: &[String]) -> Option<Parts> {
    let (first, rest) = parts.split_first()?;
    if first == "crate" {
        return Some(rest.to_vec());
    }
    let up = parts.iter().take_while(|part| *part == "super").count();
    // A module within the file may go up once more than the file's own has parents.
    let kept = module.len().checked_sub(up).filter(|_| up > 0)?;
    Some([&module[..kept], &parts[up..]].concat())
}

// --- that all this can fail ---

#[test]
fn the_texts_of_errors_are_read_and_those_of_tests_and_of_debug_are_not() {
    let source = r##"
        #[error("a {b:?}")] struct A;
        #[doc = "no"] #[expect(x, reason = "no")] fn f() { say!("c", d(r#"e"#)); }
        impl fmt::Debug for A { fn fmt(&self) { write!(f, "no") } }
        impl<T: Debug> Display for B<T> { fn fmt(&self) { write!(f, "f") } }
        #[cfg(test)] mod tests { fn f() { g("no") } }
        fn g() { h("i") }
    "##;
    assert_eq!(texts(source), ["\"a {b:?}\"", "\"c\"", "r#\"e\"#", "\"f\"", "\"i\""]);
}

fn house(files: &[(&str, &str)]) -> Crate {
    let root = "mod top; mod middle; mod floor; use middle::helper; #[cfg(test)] mod tests;";
    let path = |module: &str| module.split("::").map(str::to_owned).collect();
    let files = files.iter().map(|(module, source)| (path(module), (*source).to_owned()));
    Crate { root: root.to_owned(), files: files.collect() }
}

#[track_caller]
fn wrong(files: &[(&str, &str)]) -> Vec<String> {
    let floors = ["top", "middle", "floor"].map(|room| vec![room.to_owned()]);
    house(files).wrong_arrows(&floors.to_vec()).into_iter().collect()
}

#[test]
fn an_arrow_that_points_up_is_seen_however_it_is_written() {
    for source in [
        "use crate::top;",
        "use crate::{floor, top::{Roof, Tile}};",
        "use crate::{self, top as sky};",
        "fn f() -> u8 { crate::top::height() }",
        "fn f() { println!(\"{}\", crate::top::height()); }",
        "use super::super::top::Roof;",
        "mod inner { fn f() { crate::top::f() } }",
        "#[cfg(test)] mod tests { use super::*; }\nuse crate::top;",
        "#[cfg(test)] #[allow(dead_code)] fn helper() {} fn f() { crate::top::f() }",
    ] {
        let files = [("middle::room", source)];
        assert_eq!(wrong(&files), ["middle::room uses top"], "{source}");
    }
    assert_eq!(wrong(&[("floor", "use crate::helper;")]), ["floor uses middle"]);
    assert_eq!(wrong(&[("cellar", "")]), ["cellar belongs to no room"]);
}

#[test]
fn an_arrow_that_points_down_stays_in_the_room_or_is_a_test_s_is_none_to_complain_of() {
    for source in [
        "use crate::floor::Stone; use crate::{middle, floor};",
        "use super::sibling; // crate::top",
        "/// Like [`crate::top`].\nfn f() { \"crate::top\"; }",
        "#[allow(dead_code, reason = \"crate::top\")] fn f() {}",
        "#[cfg(test)] mod tests { use crate::top; }",
        "#[cfg(test)] use crate::{top, floor};",
        "impl A { #[cfg(test)] fn f() { crate::top::f() } fn g() {} }",
        "#[test] fn f() { crate::top::f() }",
        "use std::top; use other::crate_top;",
    ] {
        assert_eq!(wrong(&[("middle::room", source)]), [""; 0], "{source}");
    }
}

#[test]
fn a_room_that_the_drawing_does_not_show_is_seen() {
    let floors = ["top", "floor"].map(|room| vec![room.to_owned()]);
    let wrong = house(&[]).wrong_arrows(&floors.to_vec());
    assert_eq!(wrong.into_iter().collect::<Vec<_>>(), ["middle is not in the drawing"]);
}
