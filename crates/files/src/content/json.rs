//! The grammar of JSON (RFC 8259), checked while the text streams through.
//!
//! Own code, because push parsers that build strings hold the longest one in memory, here up to a whole file.

/// Deepest nesting of arrays and objects: one bit each.
const DEPTH_MAX: u32 = u128::BITS;

/// A text of JSON in UTF-8, as far as it was read. A byte order mark may precede it.
///
/// Numbers of any size, duplicate names and escapes of lone surrogates are grammatical, so they are accepted.
#[derive(Debug, Clone)]
pub(super) struct Json {
    state: State,
    depth: u32,
    /// The last bit is 1 inside of an object, 0 inside of an array; the bit before it is for what is around that.
    objects: u128,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was read, not even a byte order mark.
    Start,
    Value,
    /// After `[`.
    FirstItem,
    /// After `{`.
    FirstName,
    Name,
    Colon,
    /// After a value: a comma, or the end of what is around it.
    After,
    Text(Role),
    Escape(Role),
    /// Hexadecimal digits that are missing.
    Hex(Role, u8),
    Number(Number),
    /// The rest of a fixed text, and what follows it.
    Fixed(&'static [u8], After),
    /// This is no JSON, whatever follows.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Name,
    Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Mark,
    Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

impl Json {
    pub(super) fn new() -> Self {
        Self { state: State::Start, depth: 0, objects: 0 }
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        loop {
            if let State::Text(_) = self.state {
                let plain = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20));
                bytes = bytes.get(plain.unwrap_or(bytes.len())..).unwrap_or_default();
            }
            let Some((byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            self.state = self.after(*byte).unwrap_or(State::Broken);
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.state == State::Broken
    }

    /// Returns true if a whole value was read.
    pub(super) fn is_complete(&self) -> bool {
        let is_ended = match self.state {
            State::After => true,
            State::Number(number) => number.is_complete(),
            _ => false,
        };
        is_ended && self.depth == 0
    }

    fn after(&mut self, byte: u8) -> Option<State> {
        match (self.state, byte) {
            (State::Number(number), _) => match number.after(byte) {
                Some(number) => Some(State::Number(number)),
                None if number.is_complete() => {
                    self.state = State::After;
                    self.after(byte)
                }
                None => None,
            },
            (State::Text(Role::Name), b'"') => Some(State::Colon),
            (State::Text(Role::Value), b'"') => Some(State::After),
            (State::Text(role), b'\\') => Some(State::Escape(role)),
            (State::Escape(role), b'u') => Some(State::Hex(role, 4)),
            (State::Escape(role), b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                Some(State::Text(role))
            }
            (State::Hex(role, 1), _) if byte.is_ascii_hexdigit() => Some(State::Text(role)),
            (State::Hex(role, missing), _) if byte.is_ascii_hexdigit() => {
                Some(State::Hex(role, missing.saturating_sub(1)))
            }
            (State::Fixed(text, after), _) => {
                let (_, rest) = text.split_first().filter(|(next, _)| **next == byte)?;
                Some(match (rest, after) {
                    ([], After::Mark) => State::Value,
                    ([], After::Value) => State::After,
                    _ => State::Fixed(rest, after),
                })
            }
            (State::Text(_) | State::Escape(_) | State::Hex(..) | State::Broken, _) => None,
            (State::Start, 0xef) => Some(State::Fixed(b"\xbb\xbf", After::Mark)),
            (state, b' ' | b'\t' | b'\n' | b'\r') => {
                Some(if state == State::Start { State::Value } else { state })
            }
            (State::Start | State::Value | State::FirstItem, _) if byte != b']' => self.value(byte),
            (State::FirstItem, _) => self.leave(0),
            (State::FirstName, b'}') => self.leave(1),
            (State::FirstName | State::Name, b'"') => Some(State::Text(Role::Name)),
            (State::Colon, b':') => Some(State::Value),
            (State::After, b',') if self.depth > 0 => {
                Some(if self.objects & 1 == 1 { State::Name } else { State::Value })
            }
            (State::After, b']') => self.leave(0),
            (State::After, b'}') => self.leave(1),
            _ => None,
        }
    }

    fn value(&mut self, first: u8) -> Option<State> {
        match first {
            b'[' => self.enter(0, State::FirstItem),
            b'{' => self.enter(1, State::FirstName),
            b'"' => Some(State::Text(Role::Value)),
            b'-' => Some(State::Number(Number::Minus)),
            b'0' => Some(State::Number(Number::Zero)),
            b'1'..=b'9' => Some(State::Number(Number::Integer)),
            b't' => Some(State::Fixed(b"rue", After::Value)),
            b'f' => Some(State::Fixed(b"alse", After::Value)),
            b'n' => Some(State::Fixed(b"ull", After::Value)),
            _ => None,
        }
    }

    fn enter(&mut self, object: u128, first: State) -> Option<State> {
        self.depth = self.depth.checked_add(1).filter(|depth| *depth <= DEPTH_MAX)?;
        self.objects = self.objects << 1 | object;
        Some(first)
    }

    fn leave(&mut self, object: u128) -> Option<State> {
        self.depth = self.depth.checked_sub(1)?;
        let is_pair = self.objects & 1 == object;
        self.objects >>= 1;
        is_pair.then_some(State::After)
    }
}

impl Number {
    fn after(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Minus, b'0') => Some(Self::Zero),
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => Some(Self::Integer),
            (Self::Zero | Self::Integer, b'.') => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Some(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => Some(Self::Sign),
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Some(Self::Power),
            _ => None,
        }
    }

    fn is_complete(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::Power)
    }
}
