//! A file's bytes as they come from a remote, with what it says about them.

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use crate::SourceError;
use crate::egress::Answer;

/// An opened file.
#[derive(Debug)]
pub(crate) struct RemoteStream {
    /// Offset of the first byte that comes.
    pub(crate) starts_at: u64,
    /// Size of the whole file, where known.
    pub(crate) total: Option<u64>,
    /// Mark of the whole file's bytes, where given; strong.
    pub(crate) mark: Option<String>,
    pub(crate) body: Body,
}

/// The bytes.
pub(crate) enum Body {
    /// Nothing more: the offset was the end.
    Empty,
    /// An HTTP answer.
    Answer(Box<Answer>),
    /// What a library streams.
    Pieces(BoxStream<'static, Result<Bytes, SourceError>>),
}

impl Body {
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, SourceError> {
        match self {
            Self::Empty => Ok(None),
            Self::Answer(answer) => answer.piece().await,
            Self::Pieces(pieces) => pieces.next().await.transpose(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Empty => "Empty",
            Self::Answer(_) => "Answer",
            Self::Pieces(_) => "Pieces",
        })
    }
}
