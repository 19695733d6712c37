//! What the assembler says that a kernel uses of a multiprocessor.
//!
//! Reads the report that NVRTC's log carries; pure. A kernel without a report is left out, not guessed.

/// Resources of one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelResources {
    /// Name of the kernel.
    pub symbol: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Local memory of a thread, in bytes: anything but 0 is slow.
    pub stack_bytes: u32,
    /// Registers written to local memory, in bytes.
    pub spilled_bytes: u32,
    /// Static shared memory of a block, in bytes.
    pub shared_bytes: u32,
}

/// Every kernel's resources in a compiler's log.
#[must_use]
pub fn kernel_resources(log: &str) -> Vec<KernelResources> {
    let mut all: Vec<KernelResources> = Vec::new();
    let mut complete = Vec::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let symbol = rest.split('\'').next().unwrap_or_default().to_owned();
            all.push(KernelResources { symbol, registers: 0, stack_bytes: 0, spilled_bytes: 0, shared_bytes: 0 });
            complete.push(false);
        } else if let Some(kernel) = all.last_mut() {
            if let Some(bytes) = number_before(line, " bytes stack frame") {
                kernel.stack_bytes = bytes;
                kernel.spilled_bytes = number_before(line, " bytes spill stores").unwrap_or(0)
                    + number_before(line, " bytes spill loads").unwrap_or(0);
            }
            if let Some(registers) = number_before(line, " registers") {
                kernel.registers = registers;
                kernel.shared_bytes = number_before(line, " bytes smem").unwrap_or(0);
                if let Some(last) = complete.last_mut() {
                    *last = true;
                }
            }
        }
    }
    all.into_iter().zip(complete).filter(|(_, complete)| *complete).map(|(kernel, _)| kernel).collect()
}

/// The number that stands right before `words`.
fn number_before(line: &str, words: &str) -> Option<u32> {
    let (before, _) = line.split_once(words)?;
    before.rsplit(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn the_assemblers_report_is_read() {
        let log = "ptxas info    : 0 bytes gmem\n\
            ptxas info    : Compiling entry function 'top_k_f32' for 'sm_90'\n\
            ptxas info    : Function properties for top_k_f32\n\
            ptxas         .     16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads\n\
            ptxas info    : Used 32 registers, used 1 barriers, 1040 bytes smem\n\
            ptxas info    : Compiling entry function 'cut off' for 'sm_90'\n";
        let expected = KernelResources {
            symbol: "top_k_f32".to_owned(),
            registers: 32,
            stack_bytes: 16,
            spilled_bytes: 20,
            shared_bytes: 1040,
        };
        assert_eq!(kernel_resources(log), [expected]);
        assert_eq!(kernel_resources("no report"), []);
    }
}
