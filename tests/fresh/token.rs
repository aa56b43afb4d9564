//! Rust source as tokens, and where its functions are. As much of the language as it takes to follow a value.

use std::ops::Range;

/// What the reader of programs looks at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Token {
    /// A name, a keyword or a number.
    Name(String),
    /// A string, without its quotes.
    Text(String),
    /// Any other character.
    Mark(char),
}

impl Token {
    pub fn is(&self, mark: char) -> bool {
        *self == Self::Mark(mark)
    }

    pub fn names(&self, name: &str) -> bool {
        matches!(self, Self::Name(own) if own == name)
    }
}

/// The tokens of a file, each with its line.
pub fn tokens(text: &str) -> Vec<(Token, usize)> {
    let chars: Vec<char> = text.chars().collect();
    let (mut at, mut line, mut found) = (0, 1, Vec::new());
    while at < chars.len() {
        let (token, len) = next(&chars[at..]);
        found.extend(token.map(|token| (token, line)));
        line += chars[at..at + len].iter().filter(|c| **c == '\n').count();
        at += len;
    }
    found
}

/// The token at the start, if there is one, and how many characters to go on by.
fn next(chars: &[char]) -> (Option<Token>, usize) {
    let word = |c: &char| c.is_alphanumeric() || *c == '_';
    match chars {
        ['/', '/', ..] => (None, chars.iter().position(|c| *c == '\n').unwrap_or(chars.len())),
        ['b', '"', ..] => (None, 1),
        ['r', '"' | '#', ..] if raw(chars).is_some() => raw(chars).expect("just seen"),
        ['"', ..] => quoted(chars),
        ['\'', '\\', ..] => (None, 3 + chars[3..].iter().position(|c| *c == '\'').map_or(0, |end| end + 1)),
        ['\'', _, '\'', ..] => (None, 3),
        [c, ..] if c.is_whitespace() || *c == '\'' => (None, 1),
        [c, ..] if word(c) => {
            let len = chars.iter().position(|c| !word(c)).unwrap_or(chars.len());
            (Some(Token::Name(chars[..len].iter().collect())), len)
        }
        [c, ..] => (Some(Token::Mark(*c)), 1),
        [] => (None, 1),
    }
}

fn raw(chars: &[char]) -> Option<(Option<Token>, usize)> {
    let hashes = chars[1..].iter().take_while(|c| **c == '#').count();
    let start = hashes + 2;
    chars.get(start - 1).filter(|c| **c == '"')?;
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let len = chars[start..].windows(end.len()).position(|window| window == end)?;
    Some((Some(Token::Text(chars[start..start + len].iter().collect())), start + len + end.len()))
}

fn quoted(chars: &[char]) -> (Option<Token>, usize) {
    let (mut at, mut text) = (1, String::new());
    while at < chars.len() && chars[at] != '"' {
        at += match &chars[at..] {
            // the line goes on, without the blanks before it
            ['\\', '\n', rest @ ..] => 2 + rest.iter().take_while(|c| c.is_whitespace()).count(),
            ['\\', 'n', ..] => {
                text.push('\n');
                2
            }
            ['\\', other, ..] => {
                text.push(*other);
                2
            }
            rest => {
                text.extend(rest.first());
                1
            }
        };
    }
    (Some(Token::Text(text)), at + 1)
}

/// A function: what it is called with, and where its body is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Function {
    pub name: String,
    /// The type whose `impl` it is in.
    pub owner: Option<String>,
    /// `self` included.
    pub parameters: Vec<String>,
    pub body: Range<usize>,
}

/// Where the bracket at `open` is closed.
pub fn closing(tokens: &[(Token, usize)], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, (token, _)) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    tokens.len()
}

/// What stands between the commas of `range`.
pub fn items(tokens: &[(Token, usize)], range: Range<usize>) -> Vec<Range<usize>> {
    let (mut start, mut at, mut found) = (range.start, range.start, Vec::new());
    while at < range.end {
        match &tokens[at].0 {
            Token::Mark('(' | '[' | '{') => at = closing(tokens, at),
            Token::Mark(',') => {
                found.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    found.extend(Some(start..range.end).filter(|last| !last.is_empty()));
    found
}

/// The functions of a file.
pub fn functions(tokens: &[(Token, usize)]) -> Vec<Function> {
    let (mut owner, mut owned, mut found) = (None, 0, Vec::new());
    for at in 0..tokens.len() {
        if at >= owned {
            (owner, owned) = implemented(tokens, at).map_or((None, owned), |(name, end)| (name, end));
        }
        if let (true, Some((Token::Name(name), _))) = (tokens[at].0.names("fn"), tokens.get(at + 1)) {
            found.extend(function(tokens, at + 1, name, owner.clone()));
        }
    }
    found
}

/// The type of the `impl` that begins here, and where it ends.
fn implemented(tokens: &[(Token, usize)], at: usize) -> Option<(Option<String>, usize)> {
    // `impl Trait` of a parameter or a result is none
    let item = at == 0 || matches!(tokens[at - 1].0, Token::Mark('}' | ';' | ']'));
    if !item || !tokens[at].0.names("impl") {
        return None;
    }
    let open = tokens.iter().skip(at).position(|(token, _)| token.is('{'))?;
    let name = tokens[at..at + open].iter().rev().find_map(|(token, _)| match token {
        Token::Name(name) => Some(name).filter(|name| name.starts_with(|c: char| c.is_ascii_uppercase())),
        _ => None,
    });
    Some((name.cloned(), closing(tokens, at + open)))
}

fn function(tokens: &[(Token, usize)], at: usize, name: &str, owner: Option<String>) -> Option<Function> {
    let open = (at..tokens.len()).find(|at| tokens[*at].0.is('('))?;
    let closed = closing(tokens, open);
    let head = (closed..tokens.len()).find(|at| matches!(tokens[*at].0, Token::Mark('{' | ';')))?;
    let body = if tokens[head].0.is('{') { head..closing(tokens, head) } else { head..head };
    let first = |item: Range<usize>| {
        tokens[item].iter().find_map(|(token, _)| match token {
            Token::Name(name) if name != "mut" => Some(name.clone()),
            _ => None,
        })
    };
    let parameters = items(tokens, open + 1..closed).into_iter().map(|item| first(item).unwrap_or_default());
    Some(Function { name: name.to_owned(), owner, parameters: parameters.collect(), body })
}
