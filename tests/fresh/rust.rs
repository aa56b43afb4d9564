//! Reads which programs Rust code starts. It begins at every `Command::new` and follows the value back: to a string, to the
//! first string of a list, to a `let`, or through a parameter to every call of the function. What it cannot follow is an
//! error, not a program less.

use crate::shell::{WRAPPERS, plain};
use crate::token::{Function, Token, closing, functions, items, tokens};
use std::collections::BTreeSet;
use std::ops::Range;

/// Names of values that are programs of this repository, or scripts of it.
pub const OURS: [&str; 7] = ["binary", "bench", "pollux", "program", "std", "env", "root"];

/// A file.
#[derive(Debug)]
pub struct Source {
    pub file: String,
    tokens: Vec<(Token, usize)>,
    functions: Vec<Function>,
}

/// A place in a file.
type Place = (usize, usize);

/// What was read.
#[derive(Debug, Default)]
pub struct Found {
    /// Programs, with file and line.
    pub programs: BTreeSet<(String, String)>,
    /// Scripts in strings, with file and line.
    pub scripts: Vec<(String, String)>,
    /// What was not understood.
    pub riddles: Vec<String>,
    /// Which of [`OURS`] were met.
    pub ours: BTreeSet<String>,
}

impl Source {
    pub fn new(file: String, text: &str) -> Self {
        let tokens = tokens(text);
        let functions = functions(&tokens);
        Self { file, tokens, functions }
    }

    /// Functions are looked for among the files of a program: a folder of `benches`, or else a whole top folder.
    fn group(&self) -> &str {
        let parts = if self.file.starts_with("benches/") { 2 } else { 1 };
        let end = self.file.match_indices('/').nth(parts - 1).map_or(self.file.len(), |(at, _)| at);
        &self.file[..end]
    }

    fn place(&self, at: usize) -> String {
        format!("{}:{}", self.file, self.tokens[at.min(self.tokens.len() - 1)].1)
    }

    fn text(&self, at: usize) -> Option<&str> {
        match &self.tokens.get(at)?.0 {
            Token::Text(text) => Some(text),
            _ => None,
        }
    }

    fn is(&self, at: usize, mark: char) -> bool {
        self.tokens.get(at).is_some_and(|(token, _)| token.is(mark))
    }

    fn name(&self, at: usize) -> Option<&str> {
        match &self.tokens.get(at)?.0 {
            Token::Name(name) => Some(name),
            _ => None,
        }
    }

    /// The innermost function around a place.
    fn around(&self, at: usize) -> Option<&Function> {
        self.functions.iter().rfind(|function| function.body.contains(&at))
    }

    /// The value that `name` was last given before `at` in the same function.
    fn given(&self, name: &str, at: usize) -> Option<usize> {
        let start = self.around(at)?.body.start;
        let bound = |at: &usize| {
            let before = at.saturating_sub(1);
            let mutable = self.name(before) == Some("mut");
            self.name(*at) == Some(name) && self.name(if mutable { at - 2 } else { before }) == Some("let")
        };
        let end = (start..at).rfind(bound)?;
        (end..at).find(|at| self.is(*at, '=')).map(|at| at + 1)
    }
}

/// Everything that these files start.
pub fn programs(sources: &[Source]) -> Found {
    let mut reader = Reader { sources, found: Found::default(), followed: BTreeSet::new() };
    for (n, source) in sources.iter().enumerate() {
        for at in 0..source.tokens.len() {
            let new = source.name(at) == Some("Command") && source.name(at + 3) == Some("new");
            if new && source.is(at + 1, ':') && source.is(at + 4, '(') {
                reader.value((n, at + 5));
            }
            if let Some(script) = source.text(at).filter(|text| text.starts_with("#!/bin/sh")) {
                reader.found.scripts.push((script.to_owned(), source.place(at)));
            }
            if let Some(path) = source.text(at).filter(|text| text.starts_with("/usr/") && !text.contains('{')) {
                reader.found.programs.insert((path.to_owned(), source.place(at)));
            }
        }
    }
    reader.found
}

struct Reader<'a> {
    sources: &'a [Source],
    found: Found,
    /// Functions whose calls were read, with the number of the parameter.
    followed: BTreeSet<(usize, usize, usize)>,
}

impl Reader<'_> {
    /// The program that the expression at this place names first.
    fn value(&mut self, (n, start): Place) {
        let source = &self.sources[n];
        let skipped = |at: &usize| {
            let vec = source.name(*at) == Some("vec") || source.is(*at, '!');
            vec || ['&', '[', '(', '*'].iter().any(|mark| source.is(*at, *mark))
        };
        let at = (start..).find(|at| !skipped(at)).unwrap_or(start);
        match &source.tokens[at].0 {
            Token::Text(text) if plain(text) || text.starts_with('/') => self.program((n, at), text),
            Token::Name(name) => self.named((n, at), name),
            _ => self.riddle((n, at)),
        }
    }

    fn riddle(&mut self, (n, at): Place) {
        let place = self.sources[n].place(at);
        self.found.riddles.push(format!("{place}: which program is started here?"));
    }

    /// A program, and the one it starts in turn.
    fn program(&mut self, (n, at): Place, name: &str) {
        let source = &self.sources[n];
        self.found.programs.insert((name.to_owned(), source.place(at)));
        let near = at + 1..(at + 30).min(source.tokens.len());
        if name == "ip" {
            let exec = near.clone().find(|at| source.text(*at) == Some("exec"));
            exec.into_iter().for_each(|exec| self.executed(n, exec + 2));
        } else if WRAPPERS.contains(&name) {
            let inner = near.clone().find(|at| source.text(*at).is_some_and(|text| plain(text) && text != name));
            inner.into_iter().for_each(|at| self.value((n, at)));
        }
    }

    /// What `ip netns exec NAME` runs; `at` is where the name is.
    fn executed(&mut self, n: usize, at: usize) {
        let source = &self.sources[n];
        let list = items(&source.tokens, at..source.tokens.len().min(at + 40));
        let mut next = list[0].end.min(at + 40);
        // the name may have been the last of its list: then the next list goes on
        if let Some(end) = (at..next).find(|at| source.is(*at, ']')) {
            next = end;
        }
        let next = (next..).find(|at| ![']', '[', '.', ','].iter().any(|mark| source.is(*at, *mark))).unwrap_or(next);
        self.value((n, next));
    }

    /// A name: a program of ours, a function that makes the value, a local value, a parameter or a constant.
    fn named(&mut self, (n, at): Place, name: &str) {
        let source = &self.sources[n];
        let ours = OURS.contains(&name);
        if ours {
            self.found.ours.insert(name.to_owned());
        } else if source.is(at + 1, '(') || source.is(at + 1, ':') {
            self.made((n, at));
        } else if let Some(value) = source.given(name, at) {
            self.value((n, value));
        } else {
            let function = source.functions.iter().rposition(|function| function.body.contains(&at));
            let parameter = |f: &usize| source.functions[*f].parameters.iter().position(|own| own == name);
            match function.and_then(|f| Some((f, parameter(&f)?))) {
                Some((f, parameter)) => self.calls((n, f), parameter),
                None => self.riddle((n, at)),
            }
        }
    }

    /// The value that the called function makes: the first word in its body.
    fn made(&mut self, (n, at): Place) {
        let source = &self.sources[n];
        let last = (at..).find(|at| source.is(at + 1, '(')).unwrap_or(at);
        let group = source.group();
        let same = self.sources.iter().enumerate().filter(|(_, other)| other.group() == group);
        let body = same.flat_map(|(n, other)| other.functions.iter().map(move |function| (n, function)));
        let found =
            body.filter(|(_, function)| Some(function.name.as_str()) == source.name(last)).find_map(|(n, function)| {
                let words = |at: &usize| self.sources[n].text(*at).is_some_and(plain);
                function.body.clone().find(words).map(|at| (n, at))
            });
        match found {
            Some(place) => self.value(place),
            None => self.riddle((n, at)),
        }
    }

    /// Every call of a function, for one of its parameters.
    fn calls(&mut self, (n, f): Place, parameter: usize) {
        if !self.followed.insert((n, f, parameter)) {
            return;
        }
        let function = &self.sources[n].functions[f];
        let group = self.sources[n].group();
        for (m, source) in self.sources.iter().enumerate().filter(|(_, source)| source.group() == group) {
            // a closure of that name is another thing
            let call =
                |at: &usize| source.name(*at) == Some(&function.name) && source.given(&function.name, *at).is_none();
            for at in (0..source.tokens.len()).filter(call) {
                if let Some(item) = argument(source, at, function, parameter, m == n) {
                    self.value((m, item.start));
                }
            }
        }
    }
}

/// What a call at `at` gives for a parameter, if it is a call of that function.
fn argument(source: &Source, at: usize, function: &Function, parameter: usize, same: bool) -> Option<Range<usize>> {
    let method = function.parameters.first().is_some_and(|name| name == "self");
    let before = at.checked_sub(1)?;
    let qualifier = source.is(before, ':').then(|| source.name(at - 3).unwrap_or_default());
    let called = match (&function.owner, method) {
        (_, true) => source.is(before, '.'),
        (Some(owner), _) => qualifier.is_some_and(|name| name == owner || (same && name == "Self")),
        (None, _) => {
            let module = |name: &str| name.starts_with(|c: char| c.is_ascii_lowercase());
            !source.is(before, '.') && source.name(before) != Some("fn") && qualifier.is_none_or(module)
        }
    };
    let open = Some(at + 1).filter(|open| called && source.is(*open, '('))?;
    let given = items(&source.tokens, open + 1..closing(&source.tokens, open));
    let hidden = usize::from(method);
    let item = given.get(parameter.checked_sub(hidden)?)?;
    (given.len() + hidden == function.parameters.len()).then(|| item.clone())
}
