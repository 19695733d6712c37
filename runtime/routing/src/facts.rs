//! What routing may ask about a request, without knowing tensors or HTTP.
//!
//! Nothing here is asked before a rule, a sticky key or a sequence needs it.

/// A value of a request: bytes as they came, or the text of a number, held without allocation.
#[derive(Clone, Copy, Debug)]
pub enum FactValue<'a> {
    /// Bytes as the client sent them.
    Bytes(&'a [u8]),
    /// Decimal text of a number.
    Number(DecimalText),
}

/// Decimal text of an integer.
#[derive(Clone, Copy, Debug)]
pub struct DecimalText {
    digits: [u8; 20],
    start: u8,
}

impl DecimalText {
    fn new(negative: bool, mut magnitude: u64) -> Self {
        let mut digits = [b'0'; 20];
        let mut start = digits.len();
        loop {
            start -= 1;
            digits[start] = b'0' + u8::try_from(magnitude % 10).unwrap_or_default();
            magnitude /= 10;
            if magnitude == 0 {
                break;
            }
        }
        // A negative magnitude is at most 2^63, 19 digits, so that there is room for the sign.
        if negative {
            start -= 1;
            digits[start] = b'-';
        }
        Self { digits, start: u8::try_from(start).unwrap_or_default() }
    }
}

impl FactValue<'_> {
    /// The bytes that are matched and hashed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(text) => &text.digits[usize::from(text.start)..],
        }
    }
}

impl<'a> From<&'a [u8]> for FactValue<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'a> From<&'a str> for FactValue<'a> {
    fn from(text: &'a str) -> Self {
        Self::Bytes(text.as_bytes())
    }
}

impl From<u64> for FactValue<'_> {
    fn from(number: u64) -> Self {
        Self::Number(DecimalText::new(false, number))
    }
}

impl From<i64> for FactValue<'_> {
    fn from(number: i64) -> Self {
        Self::Number(DecimalText::new(number < 0, number.unsigned_abs()))
    }
}

impl From<bool> for FactValue<'_> {
    fn from(truth: bool) -> Self {
        Self::Bytes(if truth { b"true" } else { b"false" })
    }
}

/// Which sequence a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceIdFact<'a> {
    /// A number other than 0.
    Number(u64),
    /// A text that is not empty.
    Text(&'a str),
}

impl<'a> SequenceIdFact<'a> {
    /// The bytes that are hashed: the text, or the number's decimal text.
    #[must_use]
    pub fn key(self) -> FactValue<'a> {
        match self {
            Self::Number(number) => FactValue::from(number),
            Self::Text(text) => FactValue::from(text),
        }
    }
}

/// A request's place in a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceFact<'a> {
    /// Which sequence of the public model.
    pub id: SequenceIdFact<'a>,
    /// The first request of the sequence.
    pub start: bool,
    /// The last request of the sequence.
    pub end: bool,
}

/// What routing may ask about one request. Answers must not change while the request is routed.
pub trait RequestFacts {
    /// Value of the header `name`, which is in lower case.
    fn header(&self, name: &str) -> Option<&[u8]>;

    /// Value of the request parameter `name`.
    fn parameter(&self, name: &str) -> Option<FactValue<'_>>;

    /// Who was authenticated, if anybody.
    fn identity(&self) -> Option<&str>;

    /// First element of the input `name`: the bytes of a `BYTES` element, or an integer as [`FactValue`] of `i64` or `u64`
    /// (so that a key does not depend on the integer's width). `None` for an absent, empty or other tensor.
    fn tensor_key(&self, name: &str) -> Option<FactValue<'_>>;

    /// The sequence that the request belongs to, if any.
    fn sequence(&self) -> Option<SequenceFact<'_>>;

    /// A number uniform over `u64` that belongs to this request: [`crate::RequestNumbers::draw`]. The same at every call.
    fn number(&self) -> u64;

    /// Microseconds since any fixed moment, never falling. Asked only of requests in a sequence.
    fn now_microseconds(&self) -> u64;
}
