//! The families of kernels: one CUDA source each, compiled and loaded together.
//!
//! Invariant: a family's list of symbols is everything that its operations can ask for.

use crate::element::{ElementType, IndexType};
use crate::launch::Symbol;

/// One CUDA source file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Gather and scatter of byte ranges.
    Segments,
    /// Padding of ragged rows and its removal.
    Padding,
    /// Conversion between element types.
    Cast,
    /// Resize, normalisation and reordering of images.
    Image,
    /// Softmax.
    Softmax,
    /// Highest elements of rows.
    TopK,
    /// Layer normalisation.
    LayerNorm,
    /// Rows of a table by index.
    Embedding,
    /// Masked mean over positions.
    MeanPooling,
    /// Non-maximum suppression.
    Suppression,
    /// Histograms and moments.
    Sketch,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Segments,
        Self::Padding,
        Self::Cast,
        Self::Image,
        Self::Softmax,
        Self::TopK,
        Self::LayerNorm,
        Self::Embedding,
        Self::MeanPooling,
        Self::Suppression,
        Self::Sketch,
    ];

    /// Name, which is that of the source file too.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Segments => "segments",
            Self::Padding => "padding",
            Self::Cast => "cast",
            Self::Image => "image",
            Self::Softmax => "softmax",
            Self::TopK => "top_k",
            Self::LayerNorm => "layer_norm",
            Self::Embedding => "embedding",
            Self::MeanPooling => "mean_pooling",
            Self::Suppression => "suppression",
            Self::Sketch => "sketch",
        }
    }

    /// The whole CUDA source: what all families start with, then the family's own.
    #[must_use]
    pub fn source(self) -> String {
        let own = match self {
            Self::Segments => include_str!("../cuda/segments.cu"),
            Self::Padding => include_str!("../cuda/padding.cu"),
            Self::Cast => include_str!("../cuda/cast.cu"),
            Self::Image => include_str!("../cuda/image.cu"),
            Self::Softmax => include_str!("../cuda/softmax.cu"),
            Self::TopK => include_str!("../cuda/top_k.cu"),
            Self::LayerNorm => include_str!("../cuda/layer_norm.cu"),
            Self::Embedding => include_str!("../cuda/embedding.cu"),
            Self::MeanPooling => include_str!("../cuda/mean_pooling.cu"),
            Self::Suppression => include_str!("../cuda/suppression.cu"),
            Self::Sketch => include_str!("../cuda/sketch.cu"),
        };
        format!("{}#line 1 \"{}.cu\"\n{own}", include_str!("../cuda/prelude.cuh"), self.name())
    }

    /// Every kernel of the family.
    #[must_use]
    pub fn symbols(self) -> Vec<Symbol> {
        let named = |names: &[&str]| names.iter().map(|name| Symbol::new(format_args!("{name}"))).collect();
        let by_pack = |stem: &str, ends: &[&str]| {
            let mut all = Vec::new();
            for element in ElementType::FLOATS {
                for pack in [1, 16 / element.size_bytes()] {
                    all.extend(
                        ends.iter().map(|end| Symbol::new(format_args!("{stem}_{}_v{pack}{end}", element.name()))),
                    );
                }
            }
            all
        };
        match self {
            Self::Segments => named(&["copy_segments"]),
            Self::Padding => {
                let widths = [1, 2, 4, 8, 16];
                let both = |width| ["pad", "unpad"].map(|kind| Symbol::new(format_args!("{kind}_w{width}")));
                widths.into_iter().flat_map(both).collect()
            }
            Self::Cast => cast_symbols(),
            Self::Image => image_symbols(),
            Self::Softmax => by_pack("softmax", &["_warp", "_block"]),
            Self::TopK => {
                ElementType::FLOATS.map(|element| Symbol::new(format_args!("top_k_{}", element.name()))).to_vec()
            }
            Self::LayerNorm => by_pack("layer_norm", &["_warp", "_block"]),
            Self::Embedding => {
                let both = |width: u32| {
                    IndexType::ALL.map(|index| Symbol::new(format_args!("embedding_w{width}_{}", index.name())))
                };
                [1, 2, 4, 8, 16].into_iter().flat_map(both).collect()
            }
            Self::MeanPooling => by_pack("mean_pooling", &[""]),
            Self::Suppression => named(&["suppression_order", "suppression_overlap", "suppression_sweep"]),
            Self::Sketch => named(&["histogram", "moments_part", "moments_add"]),
        }
    }
}

fn cast_symbols() -> Vec<Symbol> {
    let mut symbols = Vec::new();
    for from in ElementType::ALL {
        for to in ElementType::ALL.into_iter().filter(|&to| to != from) {
            for pack in [1, 16 / from.size_bytes().max(to.size_bytes())] {
                symbols.push(Symbol::new(format_args!("cast_{}_{}_v{pack}", from.name(), to.name())));
            }
        }
    }
    symbols
}

fn image_symbols() -> Vec<Symbol> {
    let mut symbols = Vec::new();
    for element in ElementType::FLOATS {
        let kinds = [("same", 16 / element.size_bytes()), ("resize", 4), ("resize", 1)];
        for (kind, pack) in kinds {
            for layout in ["hwc", "chw"] {
                for channels in [1, 3, 4] {
                    let element = element.name();
                    symbols.push(Symbol::new(format_args!("image_{kind}_{layout}_c{channels}_{element}_v{pack}")));
                }
            }
        }
    }
    symbols
}
