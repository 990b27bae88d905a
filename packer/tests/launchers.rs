//! `packer launchers`, and packages with launchers of another maker or for another platform.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Finish as _, Finished, Launcher, Reference, Scratch, at_home};

/// A user with a registry of his own, and a project.
struct User {
    scratch: Scratch,
}

impl User {
    fn new() -> Self {
        let user = Self { scratch: Scratch::new() };
        let script = "#!/bin/sh\ncat \"$FLAVOR_WORKENV/words/one/two\"; echo \"$# $1\"; exit 7\n";
        common::write_files(
            &user.scratch.dir("project"),
            &[
                ("tree/say", script),
                ("words/one/two", "deep words\n"),
                (
                    "app.toml",
                    "[package]\nname = \"app\"\nversion = \"1.0\"\n\
                     [execution]\ncommand = \"/bin/sh {slot:0}/say\"\n\
                     [[slots]]\nid = \"program\"\nsource = \"tree\"\ntarget = \"opt/program\"\n\
                     [[slots]]\nid = \"words\"\nsource = \"words\"\n",
                ),
            ],
        );
        user
    }

    fn packer(&self, args: &[&str]) -> Command {
        let mut packer = common::packer();
        packer.args(args).current_dir(self.scratch.join("project"));
        packer.env("XDG_DATA_HOME", self.scratch.join("data")).env("PSPF_CACHE_DIR", self.scratch.dir("cache"));
        packer
    }

    fn pack(&self, args: &[&str]) -> Finished {
        let mut pack = self.packer(&["pack", "--key-seed", "x", "--quiet"]);
        pack.args(args).finish()
    }

    fn add(&self, file: &Path) -> Finished {
        let mut add = self.packer(&["launchers", "add"]);
        add.arg(file).finish()
    }

    fn registry(&self) -> PathBuf {
        self.scratch.join("data/pspf/launchers")
    }
}

#[test]
fn packer_s_own_launchers_are_listed_and_need_not_be_added() {
    let user = User::new();
    let list = user.packer(&["launchers", "list", "--json"]).finish().exits(0).stays_quiet().json();
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|launcher| launcher["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["packer", "packer-all"]);
    for name in ["rust", "packer"] {
        user.pack(&["--launcher", name]).exits(0);
    }
    assert!(!user.registry().exists(), "nothing was made for them");
}

#[test]
fn a_launcher_that_was_added_is_chosen_for_its_platform() {
    let user = User::new();
    for platform in ["windows_amd64", "darwin_arm64", "linux_arm64"] {
        let file = user.scratch.join("my launcher");
        fs::write(&file, common::program_for(platform)).unwrap();
        user.add(&file).exits(0).prints("added my_launcher-").prints(platform);
        let ending = if platform.starts_with("windows") { ".exe" } else { "" };
        let output = user.scratch.join("project").join(format!("app-1.0.psp{ending}"));
        user.pack(&["--platform", platform]).exits(0);
        let report = user.packer(&["inspect", "--json"]).arg(&output).finish().exits(0).json();
        assert_eq!((&report["verified"], &report["launcher_size"]), (&true.into(), &256.into()));
        user.packer(&["verify"]).arg(&output).finish().exits(0).prints("every byte");
        fs::remove_file(output).unwrap();
    }
    let info = user.packer(&["launchers", "list"]).finish().exits(0).stdout();
    let name = info.lines().find(|line| line.contains("darwin_arm64")).unwrap().split(' ').next().unwrap();
    user.packer(&["launchers", "info", name])
        .finish()
        .exits(0)
        .prints("sha256")
        .prints("everything that packer writes");
    user.pack(&["--launcher", name]).exits(0);
}

#[test]
fn a_platform_without_a_launcher_is_refused_with_those_there_are_and_how_to_add_one() {
    let user = User::new();
    let refusal = user.pack(&["--platform", "darwin_arm64"]).exits(109);
    refusal.says("there is no launcher for darwin_arm64").says("packer (rust, linux_amd64)").says("launchers add");
    user.pack(&["--launcher", "go"]).exits(109).says("there is no launcher go for linux_amd64");
    user.pack(&["--platform", "amiga"]).exits(105).says("windows_amd64");
    user.packer(&["launchers", "info", "go"]).finish().exits(105).says("packer-all");
}

#[test]
fn what_is_no_launcher_is_not_added() {
    let user = User::new();
    common::write_files(&user.scratch, &[("text", "#!/bin/sh\n"), ("no.whl", "no zip")]);
    user.add(&user.scratch.join("text")).exits(105).says("this is not a launcher");
    user.add(&user.scratch.join("no.whl")).exits(105).says("this wheel cannot be read");
    let empty = zip::ZipWriter::new(fs::File::create(user.scratch.join("empty.whl")).unwrap());
    empty.finish().unwrap();
    user.add(&user.scratch.join("empty.whl")).exits(105).says("carries no launcher");
    user.add(&user.scratch.join("nothing")).exits(106);
    assert!(!user.registry().exists());
}

#[test]
fn the_launchers_of_a_wheel_are_added_by_kind_version_and_platform() {
    let user = User::new();
    let wheel = user.scratch.join("flavorpack-9.9-py3-none-any.whl");
    let mut archive = zip::ZipWriter::new(fs::File::create(&wheel).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    for name in ["go-launcher-9.9", "rs-launcher-9.9", "rs-builder-9.9"] {
        archive.start_file(format!("flavor/helpers/bin/flavor-{name}-windows_amd64.exe"), options).unwrap();
        archive.write_all(&common::program_for("windows_amd64")).unwrap();
    }
    archive.finish().unwrap();
    let added = user.add(&wheel).exits(0).stdout();
    assert_eq!(added.lines().count(), 2, "{added}");
    for kind in ["go", "rust"] {
        let file = user.registry().join(format!("{kind}-9.9-windows_amd64"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        user.pack(&["--platform", "windows_amd64", "--launcher", kind]).exits(0);
    }
    assert_eq!(fs::metadata(user.registry()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_registry_that_others_may_write_is_not_used() {
    let user = User::new();
    let file = user.scratch.join("mine");
    fs::write(&file, common::program_for("linux_arm64")).unwrap();
    user.add(&file).exits(0);
    fs::set_permissions(user.registry(), fs::Permissions::from_mode(0o777)).unwrap();
    user.pack(&["--platform", "linux_arm64"]).exits(109).says("anybody's launcher").says("chmod go-w");
}

#[test]
fn packages_start_under_flavorpack_s_launchers_whatever_the_targets_of_their_slots() {
    let Some(reference) = Reference::find() else { return };
    let user = User::new();
    for (launcher, kind) in [(Launcher::Rust, None), (Launcher::Go, Some("go"))] {
        let path = reference.launcher(launcher);
        user.add(&path).exits(0);
        let path = path.to_str().unwrap().to_owned();
        // Ours is in Rust, so the other one goes by its whole name or its file.
        let options = kind.map_or(["--launcher-bin", path.as_str()], |kind| ["--launcher", kind]);
        user.pack(&options).exits(0);
        let package = user.scratch.join("project/app-1.0.psp");
        user.packer(&["verify"]).arg(&package).finish().exits(0).prints("every byte");
        let start =
            at_home(&package, &user.scratch.dir(&format!("{launcher:?}"))).args(["two words", ""]).finish().exits(7);
        assert_eq!(start.stdout(), "deep words\n2 two words\n", "{launcher:?}: {start}");
        // And under ours: the package says the same to everybody.
        let run = user.packer(&["run"]).arg(&package).args(["two words", ""]).finish().exits(7);
        assert_eq!(run.stdout(), start.stdout());
    }
}

#[test]
fn what_flavorpack_s_launchers_cannot_read_is_refused_while_packing() {
    let Some(reference) = Reference::find() else { return };
    let user = User::new();
    let launcher = reference.launcher(Launcher::Go);
    let pack = |more: &[&str]| user.pack(&[&["--launcher-bin", launcher.to_str().unwrap()], more].concat());
    pack(&["--compression", "xz"]).exits(109).says("slot program").says("gzip").says("tar.xz");
    symlink("one/two", user.scratch.join("project/words/link")).unwrap();
    pack(&[]).exits(108).says("no symbolic links").says("words/link");
}

#[test]
fn a_python_project_starts_under_flavorpack_s_launchers() {
    let (Some(reference), Some(_)) = (Reference::find(), common::hello()) else { return };
    let _heavy = common::heavy();
    let user = User::new();
    let project = user.scratch.join("hello");
    common::copy_tree(&common::source_of("hello-cli"), &project);
    for launcher in [Launcher::Rust, Launcher::Go] {
        let package = user.scratch.join("hello.psp");
        let mut pack = common::pack(&project, &package);
        pack.arg("--launcher-bin").arg(reference.launcher(launcher)).env("PSPF_CACHE_DIR", user.scratch.dir("cache"));
        pack.finish().exits(0);
        user.packer(&["verify"]).arg(&package).finish().exits(0).prints("every byte");
        // Its launchers refuse another package of the same name where one has run.
        let home = user.scratch.dir(&format!("{launcher:?}"));
        for _ in 0..2 {
            let start = at_home(&package, &home).args(["a", "b c", "--exit", "42"]).finish().exits(42);
            assert!(start.stdout().ends_with("\na\nb c\n"), "{launcher:?}: {start}");
        }
    }
}
