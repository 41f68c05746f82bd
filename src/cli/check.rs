//! `visavis check`: everything that a start would trip over, found before it.

use std::process::ExitCode;

use anyhow::Result;

use super::{DataArgs, block_on, models::rates_at_threshold};
use crate::{app, config::Config};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(serde::Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    detail: String,
}

pub(super) fn run(mut config: Config, args: &CheckArgs) -> Result<ExitCode> {
    args.data.apply(&mut config);
    // The configuration was validated when it was loaded.
    let findings = [
        Finding {
            what: "configuration",
            ok: true,
            detail: format!("valid; listens on {}", config.http.listen),
        },
        finding("tls", tls(&config)),
        finding("models", models(&config)),
        finding("data", block_on(data(&config))),
    ];
    if args.json {
        println!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        for Finding { what, ok, detail } in &findings {
            println!("{:<4} {what}: {detail}", if *ok { "ok" } else { "FAIL" });
        }
    }
    let good = findings.iter().all(|f| f.ok);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn finding(what: &'static str, result: Result<String>) -> Finding {
    match result {
        Ok(detail) => Finding { what, ok: true, detail },
        Err(error) => Finding { what, ok: false, detail: format!("{error:#}") },
    }
}

fn tls(config: &Config) -> Result<String> {
    let Some(files) = app::tls_files(config) else {
        return Ok("none: plain HTTP, for behind a proxy that ends TLS".to_owned());
    };
    files.load()?;
    Ok(format!("{} and its key can be used", files.certificate.display()))
}

/// Loads the library, checks every digest, and runs every net once.
fn models(config: &Config) -> Result<String> {
    let model = app::load_model(config)?;
    (model.factory)()?;
    let table = model.pack.calibration.as_ref();
    let note = match table {
        Some(table) if table.model != model.pack.digest() => ", MEASURED WITH OTHER NETS",
        Some(_) => "",
        None => ", UNCALIBRATED",
    };
    let rates = match table {
        Some(table) => rates_at_threshold(table, config.compare.population, config.compare.fmr)?,
        None => String::new(),
    };
    Ok(format!(
        "pack {} loads and runs; threshold {}{note} (calibration {}{rates})",
        model.pack.name,
        model.policy.threshold(),
        table.map_or("none", |t| t.id.as_str())
    ))
}

async fn data(config: &Config) -> Result<String> {
    let data = app::look_at_data(config).await?;
    data.clients.gateway_key().await?;
    let clients = data.clients.list().await?.len();
    let mut jobs = 0;
    for database in &data.databases {
        jobs += database.store.depth().await?.jobs;
    }
    data.close().await;
    Ok(format!(
        "{} opens with this master key; {clients} clients, {jobs} jobs waiting",
        app::database_name(config)
    ))
}
