//! Why a run stops whose student no longer computes numbers.

use std::path::PathBuf;

/// A student of which nothing can come any more, though its last losses were numbers.
#[derive(Debug, thiserror::Error)]
#[error(
    "{cause}: training stops here. The losses of step {step} were {}. The last good checkpoint is {}. If they grew, \
     lower optimiser.rate, set optimiser.clip, or use balance = \"communism\"",
    shown(losses),
    last.display()
)]
pub struct Diverged {
    /// What was found, and when.
    pub cause: String,
    /// The last step.
    pub step: u64,
    /// Its loss terms before they were weighted, with their names.
    pub losses: Vec<(String, f32)>,
    /// The checkpoint from before.
    pub last: PathBuf,
}

fn shown(losses: &[(String, f32)]) -> String {
    let shown: Vec<String> = losses.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::Diverged;

    #[test]
    fn it_says_what_where_the_losses_and_the_cure() {
        let losses = vec![("labels.heat".to_owned(), 2.01834), ("labels.size".to_owned(), 4e9)];
        let cause = "the gradients at step 6 are inf".to_owned();
        let error = Diverged { cause, step: 6, losses, last: "run/checkpoints/last".into() }.to_string();
        assert_eq!(
            error,
            "the gradients at step 6 are inf: training stops here. The losses of step 6 were labels.heat 2.0183, \
             labels.size 4000000000.0000. The last good checkpoint is run/checkpoints/last. If they grew, lower \
             optimiser.rate, set optimiser.clip, or use balance = \"communism\""
        );
    }
}
