//! Reads which programs a shell script starts. It knows the shell of this repository: no here-documents, no `case`.

/// Words that the shell itself understands, and those that stand before a command.
const OWN: &str = "if then elif else fi for while until do done in { } ! [ [[ : . true false break cd command echo eval \
    exec exit export kill local printf read return set shift test trap type umask unset wait";

/// Words after which comes a command.
const BEFORE: &str = "if then elif else while until do { ! exec eval";

/// Programs that start the program among their arguments.
pub const WRAPPERS: [&str; 6] = ["env", "setpriv", "stdbuf", "taskset", "timeout", "unshare"];

/// Whether it may be the name of a program, and not an option, a number, a path or a value.
pub fn plain(word: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-+".contains(c);
    word.starts_with(|c: char| c.is_ascii_lowercase()) && word.chars().all(inside)
}

/// The programs that `text` starts; functions that it defines are none.
pub fn programs(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for command in commands(text) {
        read(&command, &mut found);
    }
    found.retain(|name| !text.contains(&format!("{name}() {{")));
    found
}

/// The program of one command, and those it starts in turn.
fn read(words: &[String], found: &mut Vec<String>) {
    let mut words = words.iter().skip_while(|word| is(BEFORE, word) || assigns(word));
    let Some(first) = words.next() else { return };
    let rest: Vec<String> = words.cloned().collect();
    let first = first.rsplit_once("/bin/").map_or(first.as_str(), |(_, name)| name);
    match first {
        "command" => found.extend(rest.iter().find(|word| plain(word)).cloned()),
        "trap" => found.extend(rest.first().map(|script| programs(script)).unwrap_or_default()),
        "cargo" => found.extend(rest.first().filter(|word| plain(word)).map(|word| format!("cargo-{word}"))),
        _ => {}
    }
    if !plain(first) || is(OWN, first) {
        return;
    }
    found.push(first.to_owned());
    let inner = match first {
        "ip" => rest.iter().position(|word| word == "exec").map(|at| at + 2),
        name if WRAPPERS.contains(&name) => rest.iter().position(|word| plain(word)),
        "sh" | "bash" => {
            found.extend(
                rest.iter().skip_while(|word| *word != "-c").nth(1).map(|text| programs(text)).unwrap_or_default(),
            );
            None
        }
        _ => None,
    };
    if let Some(at) = inner.filter(|at| *at < rest.len()) {
        read(&rest[at..], found);
    }
}

fn is(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|own| own == word)
}

fn assigns(word: &str) -> bool {
    word.split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_'))
}

/// The words of each simple command; what `$(...)` holds is a command of its own.
fn commands(text: &str) -> Vec<Vec<String>> {
    let chars: Vec<char> = text.chars().collect();
    let mut scan = Scan { chars: &chars, at: 0, done: Vec::new() };
    while scan.at < chars.len() {
        scan.list();
        // a closing bracket without an opening one
        scan.at += 1;
    }
    scan.done
}

struct Scan<'a> {
    chars: &'a [char],
    at: usize,
    done: Vec<Vec<String>>,
}

impl Scan<'_> {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// Commands up to the bracket that closes them, or the end.
    fn list(&mut self) {
        let (mut words, mut word) = (Vec::new(), None);
        while let Some(c) = self.peek(0).filter(|c| *c != ')') {
            self.at += 1;
            match c {
                '\\' if self.peek(0) == Some('\n') => self.at += 1,
                '#' if word.is_none() => self.comment(),
                ' ' | '\t' => words.extend(word.take()),
                '\n' | ';' | '|' | '(' => self.end(&mut words, &mut word),
                // `>&2` and `&>` are no separators
                '&' if !self.chars[..self.at - 1].ends_with(&['>']) => self.end(&mut words, &mut word),
                _ => self.piece(c, word.get_or_insert_with(String::new)),
            }
            if c == '(' {
                self.list();
                self.at += 1;
            }
        }
        self.end(&mut words, &mut word);
    }

    fn end(&mut self, words: &mut Vec<String>, word: &mut Option<String>) {
        words.extend(word.take());
        self.done.extend(Some(std::mem::take(words)).filter(|words| !words.is_empty()));
    }

    fn comment(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.at += 1;
        }
    }

    /// A character of a word, or what it begins.
    fn piece(&mut self, c: char, word: &mut String) {
        match c {
            '\'' => {
                let rest = &self.chars[self.at..];
                let len = rest.iter().position(|c| *c == '\'').unwrap_or(rest.len());
                word.extend(&rest[..len]);
                self.at += len + 1;
            }
            '"' => self.quoted(word),
            '$' => self.dollar(word),
            '\\' => {
                word.extend(self.peek(0));
                self.at += 1;
            }
            c => word.push(c),
        }
    }

    fn quoted(&mut self, word: &mut String) {
        while let Some(c) = self.peek(0).filter(|c| *c != '"') {
            self.at += 1;
            match c {
                '$' => self.dollar(word),
                '\\' => {
                    word.extend(self.peek(0));
                    self.at += 1;
                }
                c => word.push(c),
            }
        }
        self.at += 1;
    }

    /// What follows a `$`: commands, or a value.
    fn dollar(&mut self, word: &mut String) {
        word.push('$');
        match (self.peek(0), self.peek(1)) {
            (Some('('), Some('(')) => {
                while self.peek(0).is_some_and(|_| !self.chars[..self.at].ends_with(&[')', ')'])) {
                    self.at += 1;
                }
            }
            (Some('('), _) => {
                self.at += 1;
                self.list();
                self.at += 1;
            }
            (Some('{'), _) => {
                while self.peek(0).is_some_and(|c| c != '}') {
                    word.extend(self.peek(0));
                    self.at += 1;
                }
            }
            _ => {}
        }
    }
}
