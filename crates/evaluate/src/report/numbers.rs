//! Rates as people read them.

/// `0.74 %`
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 10.0 { format!("{percent:.1} %") } else { format!("{percent:.2} %") }
}

/// `1.2e-5`
pub fn rate(rate: f64) -> String {
    if rate <= 0.0 { "0".to_owned() } else { format!("{rate:.1e}") }
}
