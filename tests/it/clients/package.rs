//! The packages of `clients/`, installed into a fresh folder as a user installs them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{python, works};
use crate::support::{Run as _, in_repository, left_out};

/// An installed package. It is installed without a network: what it needs is on the machine.
pub struct Package {
    pub language: &'static str,
    folder: TempDir,
    /// Makes the calls of a plan.
    driver: PathBuf,
}

impl Package {
    /// All that can be installed here.
    pub fn all() -> Vec<Self> {
        [Self::python(), Self::node()].into_iter().flatten().collect()
    }

    pub fn python() -> Option<Self> {
        let mut probe = Command::new(python());
        probe.args(["-c", "import cryptography, flit_core, pip"]);
        if !works(probe) {
            left_out("clients/python: cryptography or flit_core is missing; run `make venv`");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut install = Command::new(python());
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        install.args(["--no-index", "--no-build-isolation", "--no-deps", "--target"]);
        install.arg(folder.path().join("site")).arg(in_repository("clients/python"));
        let installed = install.ran();
        assert_eq!(installed.code, 0, "{}{}", installed.out, installed.err);
        let driver = in_repository("tests/it/clients/driver.py").into();
        Some(Self { language: "Python", folder, driver })
    }

    pub fn node() -> Option<Self> {
        for tool in ["node", "npm"] {
            let mut probe = Command::new(tool);
            probe.arg("--version");
            if !works(probe) {
                left_out(&format!("clients/node: {tool} does not run here; install it"));
                return None;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("package.json"), r#"{"private":true}"#).unwrap();
        let mut install = Command::new("npm");
        install.args(["install", "--offline", "--no-audit", "--no-fund", "--loglevel=error"]);
        install.arg(in_repository("clients/node")).current_dir(folder.path());
        let installed = install.ran();
        assert_eq!(installed.code, 0, "{}{}", installed.out, installed.err);
        // Node finds packages from where a file lies.
        let driver = folder.path().join("driver.mjs");
        fs::copy(in_repository("tests/it/clients/driver.mjs"), &driver).unwrap();
        Some(Self { language: "Node", folder, driver })
    }

    /// The folder that it is installed in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a file, or the interpreter with other arguments, where the package is found.
    pub fn interpreter(&self) -> Command {
        let mut command =
            if self.language == "Python" { Command::new(python()) } else { Command::new("node") };
        command.env("PYTHONPATH", self.folder().join("site")).current_dir(self.folder());
        command
    }

    /// Its own command line.
    pub fn command(&self) -> Command {
        let mut command = self.interpreter();
        match self.language {
            "Python" => command.args(["-m", "visavis_client"]),
            _ => command.arg(self.folder().join("node_modules/.bin/visavis-client")),
        };
        command
    }

    /// Makes calls one after another with one client, in several threads if `plan` says so; what
    /// came of each.
    pub fn run(&self, plan: &Value) -> Vec<Value> {
        let ran = self.interpreter().arg(&self.driver).arg(plan.to_string()).ran();
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}: {plan}", self.language);
        ran.json().as_array().unwrap().clone()
    }

    /// The same with the usual shape of a plan.
    pub fn calls(&self, url: &str, client: &Path, options: Value, steps: Value) -> Vec<Value> {
        let mut plan = json!({ "url": url, "client": client });
        plan["options"] = options;
        plan["steps"] = steps;
        self.run(&plan)
    }
}
