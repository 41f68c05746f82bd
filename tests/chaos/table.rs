//! What a run prints.

use crate::ledger::Audit;

/// Prints what happened and what the audit found, and returns what is wrong.
pub fn print(title: &str, happened: &[(&str, u64)], audit: &Audit) -> Vec<String> {
    println!("\n{title}");
    let row = |name: &str, count: u64| println!("  {name:<44} {count:>9}");
    for (name, count) in happened {
        row(name, *count);
    }
    row("jobs", audit.jobs);
    row("claims", audit.claims);
    row("claims of a job that another one was running", audit.takeovers);
    println!("  {:-<54}", "must be 0 ");
    for (name, count) in audit.wrongs() {
        row(name, count);
    }
    audit.failures()
}
