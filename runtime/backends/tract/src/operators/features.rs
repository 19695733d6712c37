//! Rows of features as the tree kernel wants them: single or double precision, `[rows, columns]`.

use std::borrow::Cow;

use tract_onnx::tract_hir::internal::{DatumType, Tensor, TractResult, bail, ensure};

/// Rows and columns of an input of rank 1 (one row) or 2.
///
/// # Errors
/// For another rank, and for rows with fewer columns than the trees look at.
pub(super) fn rows_and_columns(input: &Tensor, needed: usize) -> TractResult<(usize, usize)> {
    let (rows, columns) = match *input.shape() {
        [columns] => (1, columns),
        [rows, columns] => (rows, columns),
        _ => bail!("expected an input of rank 1 or 2, got shape {:?}", input.shape()),
    };
    ensure!(columns >= needed, "expected rows of at least {needed} features, got {columns}");
    Ok((rows, columns))
}

/// The numbers of `input` in single precision; integers are rounded as ONNX Runtime rounds them.
#[allow(clippy::cast_precision_loss, reason = "the operator compares in single precision")]
pub(super) fn singles(input: &Tensor) -> TractResult<Cow<'_, [f32]>> {
    let plain = input.try_as_plain_ram()?;
    Ok(match input.datum_type() {
        DatumType::F32 => Cow::Borrowed(as_slice::<f32>(input)?),
        DatumType::I64 => Cow::Owned(plain.as_slice::<i64>()?.iter().map(|&value| value as f32).collect()),
        DatumType::I32 => Cow::Owned(plain.as_slice::<i32>()?.iter().map(|&value| value as f32).collect()),
        other => bail!("expected features of type FP32, FP64, INT64 or INT32, got {other:?}"),
    })
}

/// The numbers of `input`, which has type `D`.
pub(super) fn as_slice<D: tract_onnx::tract_hir::internal::Datum>(input: &Tensor) -> TractResult<&[D]> {
    let bytes = input.try_as_plain_ram()?;
    bytes.as_slice::<D>()
}
