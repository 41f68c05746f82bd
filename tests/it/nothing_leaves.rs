//! Nothing leaves the machine: no library that is fetched has a telemetry collector, telemetry is
//! disabled before one is loaded, and no command that compares makes a file or a connection of
//! which `docs/PRIVACY.md` does not speak.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use memchr::memmem;

use crate::{
    crash::server::{Data, Server},
    deploy::text,
    support::{
        Ran, Run as _, cluster, create_data, in_repository, left_out, runtime_library, visavis,
        with_models,
    },
};

/// What the libraries with a collector have and those without do not: where it sends to, what it is
/// called, where it keeps its files, and what disables it.
const MARKS: [&str; 4] =
    ["events.data.microsoft.com", "OneCollector", "DeveloperTools", "ORT_DISABLE_TELEMETRY"];

fn assert_has_no_collector(folder: &str) {
    let lock = text(&format!("{folder}.lock"));
    let version = lock.lines().find_map(|line| line.split_once("==")).unwrap().1;
    let version = version.trim_end_matches([' ', '\\']);
    let library = in_repository(&format!("{folder}/libonnxruntime.so.{version}"));
    assert!(Path::new(&library).exists(), "{library} is missing: run `make {folder}`");
    for entry in fs::read_dir(in_repository(folder)).unwrap() {
        let file = entry.unwrap().path();
        let bytes = fs::read(&file).unwrap();
        if file.to_string_lossy().contains(".so") {
            let found = MARKS.iter().find(|mark| memmem::find(&bytes, mark.as_bytes()).is_some());
            assert_eq!(found, None, "{} has a telemetry collector", file.display());
        }
    }
}

#[test]
fn no_library_that_is_fetched_has_a_telemetry_collector() {
    assert_has_no_collector("runtime");
    if cfg!(target_arch = "x86_64") {
        assert_has_no_collector("runtime-openvino");
    }
    // Fetched where there is a GPU only: 250 MB.
    if Path::new(&in_repository("runtime-gpu")).exists() {
        assert_has_no_collector("runtime-gpu");
    }
}

/// A repository with the library that is pinned and what fetches it; the name of the library.
fn fetched() -> (tempfile::TempDir, String) {
    let copy = tempfile::tempdir().unwrap();
    for folder in ["scripts", "runtime"] {
        fs::create_dir(copy.path().join(folder)).unwrap();
    }
    for file in ["scripts/fetch-runtime", "runtime.lock"] {
        fs::copy(in_repository(file), copy.path().join(file)).unwrap();
    }
    let name = runtime_library().file_name().unwrap().to_str().unwrap().to_owned();
    fs::copy(runtime_library(), copy.path().join("runtime").join(&name)).unwrap();
    (copy, name)
}

#[test]
fn a_library_that_is_not_the_pinned_one_is_refused_each_time() {
    let (copy, name) = fetched();
    let fetch = || Command::new(copy.path().join("scripts/fetch-runtime")).ran();
    assert_eq!(fetch().code, 0);
    let library = copy.path().join("runtime").join(name);
    let mut bytes = fs::read(&library).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&library, bytes).unwrap();
    let refused = fetch();
    assert_eq!(refused.code, 1, "{}", refused.out);
    let cure = "runtime/ has other libraries than runtime.lock pins: remove runtime/";
    assert!(refused.err.contains(cure), "{}", refused.err);
    assert!(library.exists(), "it may be somebody's own");
}

#[test]
fn a_library_for_another_machine_is_the_one_that_is_pinned_for_it() {
    let (copy, _) = fetched();
    let other = if cfg!(target_arch = "aarch64") { "x86_64" } else { "aarch64" };
    let folder = format!("runtime-{other}");
    fs::rename(copy.path().join("runtime"), copy.path().join(&folder)).unwrap();
    let mut fetch = Command::new(copy.path().join("scripts/fetch-runtime"));
    let refused = fetch.env("ARCH", other).ran();
    assert_eq!(refused.code, 1, "{}", refused.out);
    let cure = format!("{folder}/ has other libraries than runtime.lock pins: remove {folder}/");
    assert!(refused.err.contains(&cure), "{}", refused.err);
}

#[test]
fn every_lock_of_a_library_has_the_digests_of_all_that_are_fetched() {
    let script = text("scripts/fetch-runtime");
    for (lock, machines) in [
        ("runtime", &["x86_64", "aarch64"][..]),
        ("runtime-gpu", &["x86_64"]),
        ("runtime-openvino", &["x86_64"]),
    ] {
        let of_lock = script.split_once(&format!("name={lock} package=")).unwrap().1;
        let others = of_lock.split_once("others=\"").unwrap().1.split('"').next().unwrap();
        let lock = text(&format!("{lock}.lock"));
        let version = lock.lines().find_map(|line| line.split_once("==")).unwrap().1;
        let library = format!("libonnxruntime.so.{}", version.trim_end_matches([' ', '\\']));
        let expected: BTreeSet<_> = others.split_whitespace().chain([&*library]).collect();
        for machine in machines {
            let rows = lock.lines().filter_map(|line| line.strip_prefix(&format!("# {machine} ")));
            let rows: Vec<_> = rows.map(|row| row.split_once(' ').unwrap()).collect();
            assert!(rows.iter().all(|(digest, _)| digest.len() == 64), "{rows:?}");
            let names: BTreeSet<_> = rows.iter().map(|(_, name)| *name).collect();
            assert_eq!(names, expected, "{machine}");
        }
    }
}

#[test]
fn a_library_of_another_version_does_not_stay_beside_the_one_that_is_fetched() {
    let (copy, pinned) = fetched();
    let runtime = copy.path().join("runtime");
    for name in ["libonnxruntime.so.1.32.0", "LICENSE"] {
        fs::write(runtime.join(name), "").unwrap();
    }
    let ran = Command::new(copy.path().join("scripts/fetch-runtime")).ran();
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert!(ran.out.contains("removed runtime/libonnxruntime.so.1.32.0"), "{}", ran.out);
    assert_eq!(names(&runtime), ["LICENSE".to_owned(), pinned].into());
}

/// The names of all files below a folder.
fn names(folder: &Path) -> BTreeSet<String> {
    fn walk(folder: &Path, top: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, top, found);
            } else {
                found.insert(path.strip_prefix(top).unwrap().display().to_string());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(folder, folder, &mut found);
    found
}

/// What disables telemetry is not in the environment of a child, nor is what disables it in
/// continuous integration.
fn as_a_user_has_it(command: &mut Command) -> &mut Command {
    command.env_remove("ORT_DISABLE_TELEMETRY").env_remove("CI")
}

#[test]
fn telemetry_is_disabled_in_every_process_that_compares_whatever_the_environment_says() {
    for given in ["0", "", "no", "1"] {
        let data = Data::new();
        let server = Server::start_with(&data, &[], &[("ORT_DISABLE_TELEMETRY", given)]);
        let read = |name: &str| fs::read(format!("/proc/{}/{name}", server.pid())).unwrap();
        let environment = String::from_utf8(read("environ")).unwrap();
        let set: Vec<_> = environment.split('\0').filter(|v| v.starts_with("ORT_DIS")).collect();
        assert_eq!(set, ["ORT_DISABLE_TELEMETRY=1"], "beside {given:?}");
        // The process is still called what it was called as.
        assert_eq!(read("comm"), b"visavis\n");
        let arguments = String::from_utf8(read("cmdline")).unwrap();
        let arguments: Vec<_> = arguments.split('\0').collect();
        assert_eq!(arguments[..2], [env!("CARGO_BIN_EXE_visavis"), "serve"], "{arguments:?}");
        assert_eq!(server.terminate(), Some(0));
    }
}

/// Whether strace may follow processes here.
fn has_strace() -> bool {
    let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    let can = tried.is_ok_and(|tried| tried.status.success());
    if !can {
        left_out("strace is missing or may not trace: what the commands connect to");
    }
    can
}

/// The program, with a home of its own, followed by strace.
struct Traced {
    folder: tempfile::TempDir,
}

impl Traced {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["home", "data", "people"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        for (person, photos) in [
            ("obama", &["obama-2009", "obama-2012"][..]),
            ("collins", &["collins"]),
            ("hopper", &["hopper"]),
        ] {
            let person = folder.path().join("people").join(person);
            fs::create_dir(&person).unwrap();
            for photo in photos {
                let sample = in_repository(&format!("samples/{photo}.jpg"));
                symlink(sample, person.join(format!("{photo}.jpg"))).unwrap();
            }
        }
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// `visavis` with these arguments, as an operator has it, under strace with `options`.
    fn command(&self, options: &[&str], arguments: &[&str]) -> Command {
        let program = with_models();
        let mut command = Command::new("strace");
        command.args(["--follow-forks", "--quiet=all", "--output", &self.path("trace")]);
        command.args(options).arg("--").arg(program.get_program()).args(arguments);
        for (name, value) in program.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let home = self.path("home");
        // Every folder that a library could take for its own.
        for name in ["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(name, &home);
        }
        command.env("VISAVIS_DATA_DIR", self.path("data")).current_dir(&home);
        command.env("VISAVIS_ADMIN_LISTEN", "");
        as_a_user_has_it(&mut command);
        command
    }

    /// The same with what is looked at below.
    fn network(&self, arguments: &[&str]) -> Command {
        let calls = "--trace=execve,openat,connect,sendto,sendmsg,sendmmsg";
        self.command(&["--seccomp-bpf", calls], arguments)
    }

    fn trace(&self) -> String {
        fs::read_to_string(self.path("trace")).unwrap_or_default()
    }

    /// Holds what a command did against what it may do.
    fn assert_private(&self, name: &str, may_connect_to: impl Fn(&str) -> bool) {
        let trace = self.trace();
        assert!(trace.contains("/libonnxruntime.so"), "{name} compares nothing:\n{trace}");
        let addressed = |line: &&str| !line.contains(" openat(") && line.contains("sa_family=");
        for line in trace.lines().filter(addressed) {
            // Reading routes and interfaces goes through the kernel alone.
            let local = line.contains("sa_family=AF_NETLINK");
            assert!(local || may_connect_to(line), "{name} connects: {line}");
        }
        assert!(!trace.contains("/etc/resolv.conf"), "{name} looks up a name");
        let home = names(&self.folder.path().join("home"));
        assert!(home.is_empty(), "{name} makes {home:?} in the home folder");
        let data = names(&self.folder.path().join("data"));
        let ours = |file: &String| {
            ["master.key", "serve.lock"].contains(&file.as_str()) || file.starts_with("visavis.db")
        };
        assert!(data.iter().all(ours), "{name} makes {data:?} in the data folder");
    }
}

/// How long a service is watched: the collector of ONNX Runtime 1.32 looks up where it sends to 9
/// seconds after the start.
const WATCHED: Duration = Duration::from_secs(15);

fn to_loopback(port: &str, line: &str) -> bool {
    line.contains("htons(") && line.contains("\"127.0.0.1\"") && line.contains(port)
}

/// Those that end by themselves.
#[test]
fn no_command_that_compares_makes_a_file_or_a_connection_of_its_own() {
    if !has_strace() {
        return;
    }
    let (one, other) = (in_repository("samples/collins.jpg"), in_repository("samples/hopper.jpg"));
    let samples = in_repository("samples");
    let bench = ["bench", "--photos", &samples, "--seconds", "1", "--workers", "1", "--floor"];
    let commands: [(&[&str], i32); 5] = [
        (&["compare", &one, &other], 1),
        (&["check"], 0),
        (&["evaluate", "--folder", "../people"], 0),
        (&["calibrate", "--folder", "../people", "--id", "own"], 2),
        (&bench, 0),
    ];
    for (arguments, code) in commands {
        let traced = Traced::new();
        create_data(Path::new(&traced.path("data")));
        let ran = traced.network(arguments).ran();
        assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.out, ran.err);
        // `bench` calls the service that it starts; a name server is at port 53.
        let calls = |line: &str| {
            arguments[0] == "bench" && to_loopback("", line) && !line.contains("htons(53)")
        };
        traced.assert_private(arguments[0], calls);
    }
}

/// Ends the program that strace follows, as a supervisor ends it.
fn terminate(mut strace: Child, traced: &Traced) -> Option<i32> {
    let trace = traced.trace();
    let pid = trace.split(' ').next().unwrap();
    assert!(Command::new("kill").args(["-TERM", pid]).status().unwrap().success());
    strace.wait().unwrap().code()
}

#[test]
fn a_service_connects_to_its_database_and_to_nothing_else() {
    if !has_strace() {
        return;
    }
    let traced = Traced::new();
    let mut command = traced.network(&["serve", "--listen", "127.0.0.1:0", "--workers", "1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let url = line.trim().strip_prefix("Visavis listens on ").unwrap_or_else(|| panic!("{line}"));
    let (data, keys) = (traced.path("data"), traced.path("keys.json"));
    let added = visavis(&["client", "add", "app", "--data", &data, "--out", &keys]);
    assert_eq!(added.code, 0, "{}", added.err);
    let photo = in_repository("samples/collins.jpg");
    let call = ["call", "compare", &photo, &photo, "--json", "--client", &keys, "--url", url];
    assert_eq!(visavis(&call).json()["samePerson"], true);
    thread::sleep(WATCHED);
    assert_eq!(terminate(server, &traced), Some(0));
    traced.assert_private("serve", |_| false);
}

#[tokio::test]
async fn workers_connect_to_their_database_and_to_nothing_else() {
    if !has_strace() {
        return;
    }
    let url = cluster().url(&cluster().new_database().await);
    let port = url.rsplit_once(':').unwrap().1.split('/').next().unwrap();
    let traced = Traced::new();
    let mut command = traced.network(&["work", "--workers", "1"]);
    command.env("VISAVIS_DATABASE_URL", &url);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut workers = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(workers.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("Visavis "), "{line}");
    tokio::time::sleep(WATCHED).await;
    assert!(traced.trace().contains(&format!("htons({port})")), "{}", traced.trace());
    assert_eq!(terminate(workers, &traced), Some(0));
    traced.assert_private("work", |line| to_loopback(&format!("htons({port})"), line));
}

/// A program that cannot be started again, as where the system forbids it.
#[test]
fn where_telemetry_cannot_be_disabled_nothing_is_loaded() {
    if !has_strace() {
        return;
    }
    let traced = Traced::new();
    let photo = in_repository("samples/collins.jpg");
    let forbidden = ["--trace=execve,openat", "--inject=execve:error=EPERM"];
    let ran: Ran = traced.command(&forbidden, &["compare", &photo, &photo]).ran();
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    for words in ["telemetry", "set ORT_DISABLE_TELEMETRY=1", "not permitted"] {
        assert!(ran.err.contains(words), "{words}: {}", ran.err);
    }
    assert!(!traced.trace().contains("libonnxruntime"), "{}", traced.trace());
    // By its path, by its link, and no more. The start by strace itself is not refused.
    assert_eq!(traced.trace().matches("(INJECTED)").count(), 2, "{}", traced.trace());
    // What loads no library needs no other environment.
    let ran: Ran = traced.command(&forbidden, &["models", "list"]).ran();
    assert_eq!(ran.code, 0, "{}", ran.err);
}

#[test]
fn check_warns_of_a_library_with_a_telemetry_collector() {
    let check = |library: &Path, format: &[&str]| {
        let data = tempfile::tempdir().unwrap();
        create_data(data.path());
        let mut command = with_models();
        command.args([&["check"], format].concat()).arg("--data").arg(data.path());
        command.env("ORT_DYLIB_PATH", library).ran()
    };
    let of_runtime = |ran: &Ran| {
        let findings = ran.json();
        let all = findings.as_array().unwrap();
        all.iter().find(|finding| finding["what"] == "runtime").cloned().unwrap()
    };
    let without = of_runtime(&check(&runtime_library(), &["--json"]));
    assert_eq!((&without["ok"], without.get("warning")), (&true.into(), None), "{without}");

    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libonnxruntime.so.1.99.0");
    let bytes: PathBuf = runtime_library();
    fs::write(&library, [&fs::read(bytes).unwrap(), MARKS[0].as_bytes()].concat()).unwrap();
    let checked = check(&library, &["--json"]);
    let with = of_runtime(&checked);
    assert_eq!((&with["ok"], &with["warning"]), (&true.into(), &true.into()), "{with}");
    assert_eq!(checked.code, 0, "telemetry is disabled all the same");
    let reported = check(&library, &[]).out;
    let line = reported.lines().find(|line| line.starts_with("WARN runtime: ")).unwrap();
    assert!(
        line.contains("1.99.0 has a telemetry collector") && line.contains("make runtime"),
        "{line}"
    );
}
