//! The lines of a file in pam.d, and their words, as libpam reads them (pam.conf(5)).
//! What they mean is the business of whoever asks.

/// The lines that say something, each with its number: without comments, and
/// with continuations joined.
#[must_use]
pub fn lines(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    for (number, raw) in (1..).zip(text.lines()) {
        let (content, comment) = match raw.split_once('#') {
            Some((content, _)) => (content.trim(), true),
            None => (raw.trim(), false),
        };
        if content.is_empty() {
            continue;
        }
        let (first, mut line) = begun.take().unwrap_or((number, String::new()));
        match content.strip_suffix('\\').filter(|_| !comment) {
            Some(content) => {
                line.push_str(content);
                line.push(' ');
                begun = Some((first, line));
            }
            None => {
                line.push_str(content);
                found.push((first, line));
            }
        }
    }
    found.extend(begun);
    found
}

/// A word of a line.
#[derive(Debug, PartialEq, Eq)]
pub struct LineWord {
    /// Without the brackets.
    pub text: String,
    /// Whether it stood in brackets.
    pub bracketed: bool,
}

/// The words of a line. One that begins with `[` goes to the next `]`.
#[must_use]
pub fn words(line: &str) -> Vec<LineWord> {
    let mut words = Vec::new();
    let mut rest = line.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        let bracketed = match rest.peek() {
            None => return words,
            Some(c) => *c == '[',
        };
        let mut text = String::new();
        if bracketed {
            rest.next();
            while let Some(c) = rest.next() {
                match c {
                    ']' => break,
                    '\\' if rest.next_if_eq(&']').is_some() => text.push(']'),
                    c => text.push(c),
                }
            }
        } else {
            while let Some(c) = rest.next_if(|c| !c.is_whitespace()) {
                text.push(c);
            }
        }
        words.push(LineWord { text, bracketed });
    }
}
