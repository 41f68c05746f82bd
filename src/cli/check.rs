//! `visavis check`: verifies configuration, keys, models and databases before a start.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Result;
use visavis_face::{Device, calibration::CalibrationTable, faster_bfloat16, jpeg::DECODER};

use super::{
    DataArgs, block_on, collector, finding::Finding, machine, models::rates_at_threshold, trial,
};
use crate::{
    app,
    clients::{ClientInfo, printable},
    compare::Fmr,
    config::Config,
    db::{Access, DbError, SchemaMismatch},
    oidc::{OidcError, Provider},
    telemetry::traces,
};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(mut config: Config, args: &CheckArgs) -> Result<ExitCode> {
    args.data.apply(&mut config);
    // The configuration was validated when it was loaded.
    let configuration =
        Finding::new("configuration", Ok(format!("valid; listens on {}", config.http.listen)));
    let (models, data) = (models(&config), block_on(data(&config)));
    let clients = data.as_ref().map_or(&[][..], |data| &data.clients);
    let thresholds = match &models {
        Ok(models) => thresholds(&config, models.table.as_ref(), clients),
        // The error is reported by the finding "models".
        Err(_) => Vec::new(),
    };
    let mut findings = vec![configuration];
    let deprecated = config.deprecated.iter().map(ToString::to_string);
    findings.extend(deprecated.map(|detail| Finding::warning("setting", detail)));
    findings.extend([trial::ports(&config), tls(&config)]);
    if let Ok(models) = &models {
        findings.push(Finding::new("device", Ok(models.device.clone())));
        findings.push(runtime(&models.library));
    }
    findings.push(Finding::new("models", models.map(|models| models.detail)));
    findings.extend(thresholds.into_iter().map(|detail| Finding::new("threshold", detail)));
    let mismatch = data.as_ref().err().and_then(mismatch);
    findings.extend(mismatch.map(schema));
    if let Ok(data) = &data {
        findings.push(Finding::new("folder", machine::folder(&config.data.dir)));
        findings.push(permissions(&config));
        findings.push(clocks(&data.clocks));
        findings.push(clients_finding(data));
        findings.push(Finding::new("audit", data.audit.clone().map_err(anyhow::Error::msg)));
    }
    findings.push(Finding::new("secrets", Ok(secrets(&config))));
    findings.extend(provider(&config));
    findings.push(Finding::new("folders", trial::folders(&config)));
    findings.push(Finding::new("files", machine::files(&config)));
    findings.push(Finding::new("memory", machine::memory(&config)));
    findings.push(Finding::new("traces", traces(&config)));
    if mismatch.is_none() {
        findings.push(Finding::new("data", data.map(|data| data.detail)));
    }
    if args.json {
        out!("{}", serde_json::to_string_pretty(&findings)?);
    } else {
        for found in &findings {
            out!("{}", found.line());
        }
    }
    let good = findings.iter().all(|f| f.ok);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether people can log in at the `OpenID` provider, if one is configured. A service starts
/// without it, and one that is away may come back.
fn provider(config: &Config) -> Option<Finding> {
    let provider = match Provider::new(config.oidc.provider()?) {
        Ok(provider) => provider,
        Err(error) => return Some(Finding::new("oidc", Err(error.into()))),
    };
    Some(match provider.check() {
        Ok(detail) => Finding::new("oidc", Ok(detail)),
        Err(error @ OidcError::Away(_)) => Finding::warning("oidc", error.to_string()),
        Err(error) => Finding::new("oidc", Err(error.into())),
    })
}

/// Where the secrets come from.
fn secrets(config: &Config) -> String {
    let key = format!("master key from {}", config.data.key_source());
    match config.database.password_source() {
        _ if !config.database.is_shared() => key,
        Some(source) => format!("{key}; database password from {source}"),
        None => {
            format!("{key}; database password from database.url, PGPASSWORD or PGPASSFILE, if any")
        }
    }
}

/// Whether the library that was loaded has a telemetry collector.
fn runtime(library: &Path) -> Finding {
    let found = collector::find(library);
    let files = match found {
        Ok(files) => files,
        Err(error) => return Finding::new("runtime", Err(error)),
    };
    if files.is_empty() {
        let detail = format!("{} has no telemetry collector", library.display());
        return Finding::new("runtime", Ok(detail));
    }
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    let detail = format!(
        "{} has a telemetry collector, which Visavis disables: use a library without one, which \
         `make runtime` (for a GPU `make runtime-gpu`) fetches",
        names.join(" and ")
    );
    Finding::warning("runtime", detail)
}

/// Whether other users can open the embedded database or hold its lock.
fn permissions(config: &Config) -> Finding {
    let open = app::open_to_others(config);
    let names: Vec<_> = open.iter().map(|path| path.display().to_string()).collect();
    if open.is_empty() {
        let detail = "the files of the service are not accessible to other users";
        return Finding::new("permissions", Ok(detail.to_owned()));
    }
    let detail = format!("other users can open {0}: run chmod 600 {0}", names.join(" "));
    Finding::warning("permissions", detail)
}

/// The schema that a database has, if it is not the one of this program.
fn mismatch(error: &anyhow::Error) -> Option<SchemaMismatch> {
    match error.downcast_ref() {
        Some(DbError::Schema { mismatch, .. }) => Some(*mismatch),
        _ => None,
    }
}

/// An older schema is migrated by the next start; a newer one prevents it.
fn schema(mismatch: SchemaMismatch) -> Finding {
    if mismatch.is_older() {
        Finding::warning("schema", mismatch.to_string())
    } else {
        Finding::new("schema", Err(anyhow::anyhow!("{mismatch}")))
    }
}

/// Whether every client is unchanged since Visavis stored it.
fn clients_finding(data: &Databases) -> Finding {
    let tampered = data.tampered.iter().map(|id| printable(id));
    let tampered = tampered.collect::<Vec<_>>().join(", ");
    let result = if tampered.is_empty() {
        Ok(format!("{} unchanged since Visavis stored them", data.clients.len()))
    } else {
        Err(anyhow::anyhow!(
            "changed outside of Visavis and not served: {tampered}; restore the database from a \
             backup, or check their settings and run visavis client rotate ID --overlap 0"
        ))
    };
    Finding::new("clients", result)
}

/// Whether certificate and key are usable, clients accept the certificate, and the key is private.
fn tls(config: &Config) -> Finding {
    let Some(files) = app::tls_files(config) else {
        let none = "disabled: plain HTTP, for use behind a proxy that terminates TLS".to_owned();
        return Finding::new("tls", Ok(none));
    };
    let (certificate, key) = (files.certificate.display(), files.key.display());
    let fitness = match files.load().and_then(|_| files.fitness()) {
        Ok(fitness) => fitness,
        Err(error) => return Finding::new("tls", Err(error.into())),
    };
    let mut warnings = Vec::new();
    if let Some(mode) = files.open_key_mode() {
        warnings.push(format!("every user can read the key (mode {mode:o}): run chmod 600 {key}"));
    }
    if fitness.is_ca {
        warnings.push(format!(
            "{certificate} is the certificate of an authority (CA:TRUE), which most clients \
             refuse: create it with -addext basicConstraints=critical,CA:FALSE"
        ));
    }
    match fitness.days_left {
        Some(days) if days < 0 => {
            let error = anyhow::anyhow!("{certificate} has expired: renew it");
            return Finding::new("tls", Err(error));
        }
        Some(days) if days < SHORT_LIVED_DAYS => {
            warnings.push(format!("{certificate} expires in {days} days: renew it"));
        }
        _ => {}
    }
    let usable = format!("{certificate} and its key are usable");
    if warnings.is_empty() {
        Finding::new("tls", Ok(usable))
    } else {
        Finding::warning("tls", format!("{usable}, but {}", warnings.join("; ")))
    }
}

/// A certificate with fewer days left causes a warning.
const SHORT_LIVED_DAYS: i64 = 30;

/// The difference between the clocks of the databases and this machine's.
fn clocks(worst: &Result<machine::Skew, String>) -> Finding {
    match worst {
        Err(error) => Finding::new("clocks", Err(anyhow::anyhow!("{error}"))),
        Ok(skew) if skew.is_wrong() => Finding::new("clocks", Err(anyhow::anyhow!("{skew}"))),
        Ok(skew) if skew.is_large() => Finding::warning("clocks", skew.to_string()),
        Ok(skew) => Finding::new("clocks", Ok(skew.to_string())),
    }
}

fn traces(config: &Config) -> Result<String> {
    let endpoint = &config.traces.endpoint;
    if endpoint.is_empty() {
        return Ok("disabled (traces.endpoint is not set)".to_owned());
    }
    traces::check(endpoint).map_err(anyhow::Error::msg)?;
    Ok(format!("exported to {endpoint}"))
}

/// The configured pack, verified.
struct Models {
    detail: String,
    device: String,
    library: PathBuf,
    table: Option<CalibrationTable>,
}

/// Loads the library, checks every digest, and runs every net once.
fn models(config: &Config) -> Result<Models> {
    let model = app::load_model(config)?;
    (model.factory)()?;
    let table = model.pack.calibration.clone();
    let note = match &table {
        Some(table) if table.model != model.pack.digest() => ", MEASURED WITH OTHER NETS",
        Some(_) => "",
        None => ", UNCALIBRATED",
    };
    let fmr = config.compare.fmr_settings()?.fmr();
    let detail = format!(
        "pack {} loads and runs; threshold {}{note} (calibration {}{})",
        model.pack.name,
        fmr.least_match().value(),
        table.as_ref().map_or("none", |t| t.id.as_str()),
        rates(config, table.as_ref(), fmr)?
    );
    let device = model.runtime.device();
    let library = app::library(config, device)?;
    let (provider, name) = (device.provider(), device.model_name());
    let named = if name.is_empty() { name } else { format!(", {name}") };
    let in_eight_bits = model.pack.embedder.net.weights.ranges.is_some();
    let ran = on_device(device, in_eight_bits);
    let is_configured = model.device_reason.is_none();
    let hint = match (device, faster_bfloat16()) {
        (Device::Cpu, Some(_)) if is_configured && !in_eight_bits => {
            "; this processor has bfloat16: runtime.device = \"cpu-bf16\" is faster \
             (docs/PERFORMANCE.md)"
        }
        (Device::CpuBf16, None) => {
            "; this processor is not faster in bfloat16: set runtime.device = \"cpu\" \
             (docs/PERFORMANCE.md)"
        }
        _ => "",
    };
    let reason = model.device_reason.map_or_else(String::new, |reason| format!("; {reason}"));
    let device = format!(
        "{device}{named}; {ran} ran with ONNX Runtime's {provider} provider; JPEG: \
         {DECODER}{hint}{reason}"
    );
    Ok(Models { detail, device, library, table })
}

/// Which nets the provider of a device ran.
fn on_device(device: Device, in_eight_bits: bool) -> &'static str {
    match device {
        Device::Cpu | Device::CpuBatched => "every net",
        Device::CpuBf16 | Device::Cuda(_) if in_eight_bits => "the head pose net",
        Device::CpuBf16 | Device::Cuda(_) => "embedder and head pose",
    }
}

/// The rates of a threshold among all people and within groups, as far as they were measured.
fn rates(config: &Config, table: Option<&CalibrationTable>, fmr: Fmr) -> Result<String> {
    let rates = |table| rates_at_threshold(table, config.compare.population, fmr.value());
    Ok(table.map(rates).transpose()?.unwrap_or_default())
}

/// Every threshold that overrides the default.
fn thresholds(
    config: &Config,
    table: Option<&CalibrationTable>,
    clients: &[(u32, ClientInfo)],
) -> Vec<Result<String>> {
    let configured = config.compare.fmr_settings().into_iter().flat_map(|settings| {
        let documents = settings.document_fmr().map(|fmr| ("documents".to_owned(), fmr));
        let by_source = settings.by_source().map(|(code, fmr)| (format!("documents {code}"), fmr));
        documents.into_iter().chain(by_source).collect::<Vec<_>>()
    });
    let own = clients.iter().flat_map(|(_, ClientInfo { name, fmr, .. })| {
        let name = printable(name);
        let all = fmr.fmr.map(|fmr| (format!("client {name}"), fmr));
        let documents = fmr.document_fmr.map(|fmr| (format!("documents of client {name}"), fmr));
        all.into_iter().chain(documents)
    });
    let described = |(whose, fmr)| {
        let rates = rates(config, table, fmr)?;
        Ok(format!("{whose}: {} for a false match rate of {fmr}{rates}", fmr.least_match().value()))
    };
    configured.chain(own).map(described).collect()
}

/// The databases, opened, and the clients in them.
struct Databases {
    detail: String,
    /// The largest difference of their clocks, or why it is unknown.
    clocks: Result<machine::Skew, String>,
    clients: Vec<(u32, ClientInfo)>,
    /// Ids of clients that were changed outside of Visavis.
    tampered: Vec<String>,
    /// The number of entries of an intact chain, or where it is broken.
    audit: Result<String, String>,
}

async fn data(config: &Config) -> Result<Databases> {
    let data = app::open_data_for(config, Access::Read).await?;
    data.clients.try_master_key().await?;
    let clients = data.clients.list().await?;
    let (mut tampered, mut entries, mut broken) = (Vec::new(), 0, Vec::new());
    for table in data.clients.tables() {
        tampered.extend(table.store.tampered().await?);
        match table.store.verify_audit().await? {
            Ok(end) => entries += end.number,
            Err(found) => broken.push(format!("database {}: {found}", table.shard)),
        }
    }
    let audit = if broken.is_empty() {
        Ok(format!("{entries} entries, none changed or removed"))
    } else {
        Err(format!("{}: compare them with the log and a backup", broken.join("; ")))
    };
    let mut jobs = 0;
    for database in &data.databases {
        jobs += database.store.depth().await?.jobs;
    }
    let clocks = machine::clocks(&data).await.map_err(|e| format!("{e:#}"));
    data.close().await;
    let detail = format!(
        "connected to {}; master key matches; {} clients, {jobs} queued jobs",
        app::database_name(config),
        clients.len()
    );
    Ok(Databases { detail, clocks, clients, tampered, audit })
}
