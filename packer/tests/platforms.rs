//! Python projects that are packed for another platform than this one. Nothing of that platform is ever started here.
//!
//! Interpreters for it are assembled in the layout of python-build-standalone, around real programs and libraries for that
//! platform from wheels on PyPI; launchers are headers, as far as anybody looks. Wheels are the real ones.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Finish as _, Finished, PythonProject};
use serde_json::{Value, json};

/// What a package is made of that is for another platform, and a project to pack.
struct Workshop {
    project: PythonProject,
    uv: PathBuf,
    /// The minor version of the Python on this machine: "3.11".
    minor: String,
    standard_library: PathBuf,
}

const MANIFEST: &str = "[project]\nname = \"far\"\nversion = \"1.0\"\nrequires-python = \">=3.9\"\n\
    dependencies = [\"markupsafe==3.0.2\", \"colorama==0.4.6; sys_platform == 'win32'\", \
    \"iniconfig; sys_platform != 'win32'\", \"near\"]\n\
    [project.scripts]\nfar = \"far:main\"\nfar-too = \"far:main\"\n\
    [build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n\
    [tool.setuptools]\npy-modules = [\"far\"]\n[tool.uv.sources]\nnear = {path = \"near\"}\n";
const NEAR: &str = "[project]\nname = \"near\"\nversion = \"2\"\n\
    [build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n\
    [tool.setuptools]\npy-modules = [\"near\"]\n";

impl Workshop {
    /// `None`: skipped.
    fn open(manifest: &str) -> Option<Self> {
        let files = [
            ("pyproject.toml", manifest),
            ("far.py", "def main():\n    import markupsafe, near\n"),
            ("near/pyproject.toml", NEAR),
            ("near/near.py", ""),
        ];
        let uv = common::uv()?;
        let project = PythonProject::new(&files)?;
        let ask =
            "import os, sys; print('%d.%d' % sys.version_info[:2], os.path.dirname(os.path.realpath(os.__file__)))";
        let python = std::env::var_os("PSPF_TEST_PYTHON").map(PathBuf::from);
        let python = python.map(|python| if python.is_dir() { python.join("bin/python3") } else { python });
        let answer =
            Command::new(python.unwrap_or_else(|| "python3".into())).args(["-c", ask]).finish().exits(0).stdout();
        let (minor, library) = answer.trim().split_once(' ').expect("two words");
        Some(Self { project, uv, minor: minor.to_owned(), standard_library: library.into() })
    }

    fn join(&self, name: &str) -> PathBuf {
        self.project.scratch.join(name)
    }

    /// A file from the wheel of markupsafe for this platform, as uv names it: native code for it.
    fn native(&self, platform: &str) -> Vec<u8> {
        let site = self.join(platform);
        let mut install = Command::new(&self.uv);
        install.args(["pip", "install", "--quiet", "--no-deps", "markupsafe==3.0.2", "--only-binary", ":all:"]);
        install.args(["--python-version", "3.11", "--python-platform", platform, "--target"]).arg(&site);
        install.finish().exits(0);
        let files = fs::read_dir(site.join("markupsafe")).unwrap().flatten().map(|entry| entry.path());
        let is_native = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "so");
        fs::read(files.into_iter().find(is_native).expect("a native part")).unwrap()
    }

    /// A starter of scripts for Windows, which pip brings along.
    fn starter(&self) -> Vec<u8> {
        let bundled = fs::read_dir(self.standard_library.join("ensurepip/_bundled")).unwrap().flatten();
        let pip = bundled.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("/pip-")).expect("pip");
        let mut pip = zip::ZipArchive::new(File::open(pip).unwrap()).unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut pip.by_name("pip/_vendor/distlib/t64.exe").unwrap(), &mut content).unwrap();
        content
    }

    /// An interpreter for `platform`, of this version.
    fn interpreter(&self, platform: &str, version: &str) -> PathBuf {
        let path = self.join(&format!("cpython-{version}-{platform}.tar.gz"));
        let file = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
        let mut archive = tar::Builder::new(file);
        let mut add = |name: &str, mode: u32, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(mode);
            archive.append_data(&mut header, format!("python/{name}"), content).unwrap();
        };
        let minor = version.rsplit_once('.').unwrap().0;
        let library = match platform {
            "windows_amd64" => {
                let program = self.starter();
                for name in ["python.exe", "python3.dll", "DLLs/_ssl.pyd", "DLLs/_testcapi.pyd", "DLLs/_tkinter.pyd"] {
                    add(name, 0o755, &program);
                }
                "Lib".to_owned()
            }
            _ => {
                let triple =
                    if platform == "linux_arm64" { "aarch64-unknown-linux-gnu" } else { "aarch64-apple-darwin" };
                let program = self.native(triple);
                let ending = if platform == "linux_arm64" { "so.1.0" } else { "dylib" };
                add(&format!("bin/python{minor}"), 0o755, &program);
                add(&format!("lib/libpython{minor}.{ending}"), 0o755, &program);
                format!("lib/python{minor}")
            }
        };
        let header = format!("#define PY_VERSION \"{version}\"\n");
        add(&format!("include/python{minor}/patchlevel.h"), 0o644, header.as_bytes());
        for module in ["os.py", "site.py", "abc.py", "encodings/__init__.py", "encodings/utf_8.py"] {
            add(&format!("{library}/{module}"), 0o644, &fs::read(self.standard_library.join(module)).unwrap());
        }
        add(&format!("{library}/test/test_os.py"), 0o644, b"");
        for entry in fs::read_dir(self.standard_library.join("ensurepip/_bundled")).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("pip-") {
                add(&format!("{library}/ensurepip/_bundled/{name}"), 0o644, &fs::read(entry.path()).unwrap());
            }
        }
        archive.into_inner().unwrap().finish().unwrap();
        path
    }

    fn packer(&self, args: &[&str]) -> Command {
        let mut packer = common::packer();
        packer.args(args).env("XDG_DATA_HOME", self.join("data"));
        packer
    }

    /// Adds a launcher of FlavorPack's for the platform, as far as its header and a name in it tell.
    fn add_launcher(&self, platform: &str) {
        let path = self.launcher(platform, b"format_2025");
        self.packer(&["launchers", "add"]).arg(path).finish().exits(0).prints(platform);
    }

    /// A launcher that is one by its header, with these bytes behind it.
    fn launcher(&self, platform: &str, more: &[u8]) -> PathBuf {
        let mut program = common::program_for(platform);
        program.extend(more);
        let path = self.join(&format!("launcher-{platform}"));
        fs::write(&path, program).unwrap();
        path
    }

    fn pack(&self, platform: &str, options: &[&str]) -> Finished {
        let _heavy = common::heavy();
        let mut pack = self.packer(&["pack", "--platform", platform, "--key-seed", "x", "--output"]);
        pack.arg(self.project.package()).arg("--manifest").arg(self.project.path("pyproject.toml")).args(options);
        // uv fetches nothing unless a test says where from.
        pack.env("UV_PYTHON_INSTALL_MIRROR", "file:///nowhere").env("UV_HTTP_RETRIES", "0");
        pack.finish()
    }

    /// What `packer inspect` says of the package, which every byte of is verified.
    #[track_caller]
    fn inspect(&self) -> Value {
        self.packer(&["verify", "--deep"]).arg(self.project.package()).finish().exits(0).prints("every byte");
        self.packer(&["inspect", "--files", "--json"]).arg(self.project.package()).finish().exits(0).json()
    }
}

/// The paths of all files in all slots, none of which is a link.
#[track_caller]
fn files(report: &Value) -> Vec<String> {
    let entries = report["slots"].as_array().unwrap().iter().flat_map(|slot| slot["entries"].as_array().unwrap());
    let paths = entries.map(|entry| {
        assert!(entry["kind"] != "symlink" && entry["kind"] != "hardlink", "{entry}");
        entry["path"].as_str().unwrap().to_owned()
    });
    paths.collect()
}

fn has(files: &[String], ending: &str) -> bool {
    files.iter().any(|file| file.ends_with(ending))
}

#[test]
fn a_package_for_windows_has_its_interpreter_its_wheels_and_no_links() {
    let Some(workshop) = Workshop::open(MANIFEST) else { return };
    let interpreter = workshop.interpreter("windows_amd64", &format!("{}.0", workshop.minor));
    workshop.add_launcher("windows_amd64");
    let packed = workshop.pack("windows_amd64", &["--python", interpreter.to_str().unwrap(), "--json"]).exits(0).json();
    assert_eq!((&packed["platform"], &packed["glibc"]), (&json!("windows_amd64"), &Value::Null));
    let report = workshop.inspect();
    assert_eq!(report["command"], "{workenv}/python-runtime/python.exe {workenv}/bin/far.py");
    let files = files(&report);
    for file in [
        "python-runtime/python.exe",
        "python-runtime/python3.dll",
        "python-runtime/DLLs/_ssl.pyd",
        "python-runtime/Lib/os.py",
        &format!("python-runtime/Lib/__pycache__/os.cpython-{}.pyc", workshop.minor.replace('.', "")),
        "python-runtime/Lib/site-packages/pip/__init__.py",
        "python-runtime/Lib/site-packages/pip/_vendor/distlib/t64.exe",
        "python-environment/colorama/__init__.py",
        "python-environment/near.py",
        "application-code/far.py",
    ] {
        assert!(files.iter().any(|other| other == file), "no {file}");
    }
    assert!(has(&files, &format!("_speedups.cp{}-win_amd64.pyd", workshop.minor.replace('.', ""))));
    for other in [".so", "_testcapi.pyd", "_tkinter.pyd", "test_os.py", "iniconfig/__init__.py"] {
        assert!(!has(&files, other), "{other} has no business on Windows, or anywhere");
    }
    let document = workshop.packer(&["inspect", "--sbom"]).arg(workshop.project.package()).finish().exits(0).json();
    let components = document["components"].as_array().unwrap();
    let markupsafe = components.iter().find(|one| one["name"] == "markupsafe").unwrap();
    assert!(markupsafe["properties"][0]["value"].as_str().unwrap().ends_with("win_amd64.whl"), "{markupsafe}");
}

#[test]
fn packages_for_arm_and_macos_have_wheels_for_them() {
    for (platform, native, other) in [
        ("linux_arm64", "-aarch64-linux-gnu.so", "-x86_64-linux-gnu.so"),
        ("darwin_arm64", "-darwin.so", "-linux-gnu.so"),
    ] {
        let Some(workshop) = Workshop::open(MANIFEST) else { return };
        let interpreter = workshop.interpreter(platform, &format!("{}.0", workshop.minor));
        let interpreter = interpreter.to_str().unwrap();
        workshop.add_launcher(platform);
        let check = |command: &str, floor: Value, options: &[&str]| {
            let options = [&["--python", interpreter, "--json"], options].concat();
            let packed = workshop.pack(platform, &options).exits(0).json();
            assert_eq!((&packed["platform"], &packed["glibc"]), (&json!(platform), &floor));
            let report = workshop.inspect();
            assert_eq!(report["command"], command);
            let files = files(&report);
            assert!(has(&files, native) && !has(&files, other), "native parts for {platform}");
            assert!(has(&files, "iniconfig/__init__.py") && !has(&files, "colorama-0.4.6.dist-info/METADATA"));
            assert!(has(&files, &format!("bin/python{}", workshop.minor)) && has(&files, "near.py"));
        };
        let floor = if platform == "linux_arm64" { json!("2.17") } else { Value::Null };
        check("{workenv}/bin/far", floor.clone(), &[]);
        if platform != "linux_arm64" {
            continue;
        }
        // One that keeps to all of the format.
        let launcher = workshop.launcher(platform, b"");
        let python = format!("{{workenv}}/python/python{} {{workenv}}/bin/far", workshop.minor);
        check(&python, floor, &["--launcher-bin", launcher.to_str().unwrap()]);
    }
}

#[test]
fn an_interpreter_can_come_from_a_mirror_through_uv() {
    let Some(workshop) = Workshop::open(&MANIFEST.replace("\"markupsafe==3.0.2\", ", "")) else { return };
    workshop.add_launcher("windows_amd64");
    let archive = workshop.interpreter("windows_amd64", &format!("{}.0", workshop.minor));
    fs::create_dir_all(workshop.join("mirror/20990101")).unwrap();
    fs::copy(archive, workshop.join("mirror/20990101/python.tar.gz")).unwrap();
    let minor: u32 = workshop.minor.split('.').nth(1).unwrap().parse().unwrap();
    let known = json!({ format!("cpython-{}.0-windows-x86_64-none", workshop.minor): {
        "name": "cpython", "arch": {"family": "x86_64", "variant": null}, "os": "windows", "libc": "none",
        "major": 3, "minor": minor, "patch": 0, "prerelease": "", "sha256": null, "variant": null, "build": "20990101",
        "url": "https://github.com/astral-sh/python-build-standalone/releases/download/20990101/python.tar.gz",
    }});
    fs::write(workshop.join("known.json"), known.to_string()).unwrap();
    let mut manifest = fs::read_to_string(workshop.project.path("pyproject.toml")).unwrap();
    manifest.push_str(&format!("[tool.flavor]\npython_version = \"{}\"\n", workshop.minor));
    fs::write(workshop.project.path("pyproject.toml"), manifest).unwrap();
    for mirror in [Some("mirror"), None] {
        let mut pack = workshop.packer(&["pack", "--platform", "windows_amd64", "--key-seed", "x", "--output"]);
        pack.arg(workshop.project.package()).arg("--manifest").arg(workshop.project.path("pyproject.toml"));
        pack.env("PSPF_CACHE_DIR", workshop.project.scratch.dir("cache"));
        pack.env("UV_PYTHON_DOWNLOADS_JSON_URL", workshop.join("known.json"));
        // The second time it is in packer's cache.
        let place = mirror.map_or("/nowhere".into(), |mirror| workshop.join(mirror));
        pack.env("UV_PYTHON_INSTALL_MIRROR", format!("file://{}", place.display()));
        let _heavy = common::heavy();
        pack.finish().exits(0);
        assert!(has(&files(&workshop.inspect()), "python-runtime/python.exe"));
    }
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    let manifest = MANIFEST.replace("\"near\"]", "\"near\", \"docopt==0.6.2\"]");
    let Some(workshop) = Workshop::open(&manifest) else { return };
    let interpreter = workshop.interpreter("windows_amd64", &format!("{}.0", workshop.minor));
    let interpreter = interpreter.to_str().unwrap();
    let all = workshop.pack("windows_amd64", &[]).exits(110).prints_nothing();
    let all = all.says("found:    no launcher, no interpreter, no wheels\n");
    let all = all.says("packer launchers add FILE").says("--platform win_amd64");
    let all = all.says("--python FILE with its install_only archive for x86_64-pc-windows-msvc");
    all.says("found:    docopt==0.6.2").says("take a version that has such a wheel");
    let two = workshop.pack("windows_amd64", &["--python", interpreter]).exits(110);
    two.says("found:    no launcher, no wheels\n").says("docopt");
    workshop.add_launcher("windows_amd64");
    let one = workshop.pack("windows_amd64", &["--python", interpreter]).exits(110);
    one.says("error: the dependencies cannot be installed").says("wheels for windows_amd64").says("docopt==0.6.2");
    fs::write(workshop.project.path("pyproject.toml"), MANIFEST).unwrap();
    workshop.pack("windows_amd64", &[]).exits(110).says("found:    no interpreter\n").says("UV_PYTHON_INSTALL_MIRROR");
    assert!(!workshop.project.package().exists());
}

#[test]
fn an_interpreter_for_the_wrong_platform_is_refused_with_both_names() {
    let Some(workshop) = Workshop::open(MANIFEST) else { return };
    let interpreter = workshop.interpreter("linux_arm64", &format!("{}.0", workshop.minor));
    workshop.add_launcher("windows_amd64");
    let refused = |python: &Path| workshop.pack("windows_amd64", &["--python", python.to_str().unwrap()]).exits(110);
    let error = refused(&interpreter).says("this interpreter is for another platform");
    error.says("expected: windows_amd64").says("found:    linux_arm64").says("x86_64-pc-windows-msvc");
    refused(&workshop.standard_library.join("../..")).says("found:    linux_amd64");
    refused(&workshop.project.path("near")).says("there is no interpreter here");
    refused(&workshop.project.path("far.py")).says("an archive (.tar.gz, .tar.zst)");
    refused(&workshop.join("nothing")).says("there is no interpreter for another platform here");
}

#[test]
fn a_project_with_native_code_is_refused_for_another_platform() {
    let manifest = "[project]\nname = \"far\"\nversion = \"1.0\"\n[project.scripts]\nfar = \"far:main\"\n\
                    [build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n\
                    [tool.setuptools]\npy-modules = [\"far\"]\n";
    let Some(workshop) = Workshop::open(manifest) else { return };
    let interpreter = workshop.interpreter("windows_amd64", &format!("{}.0", workshop.minor));
    workshop.add_launcher("windows_amd64");
    let setup = "from setuptools import setup, Distribution\n\
                 class Native(Distribution):\n    def has_ext_modules(self):\n        return True\n\
                 setup(distclass=Native)\n";
    fs::write(workshop.project.path("setup.py"), setup).unwrap();
    let refused = workshop.pack("windows_amd64", &["--python", interpreter.to_str().unwrap()]).exits(108);
    refused.says("the project has native code, which is not built for windows_amd64 here").says("linux_x86_64.whl");
    // The same of a project beside it.
    fs::rename(workshop.project.path("setup.py"), workshop.project.path("near/setup.py")).unwrap();
    fs::write(workshop.project.path("pyproject.toml"), MANIFEST).unwrap();
    let refused = workshop.pack("windows_amd64", &["--python", interpreter.to_str().unwrap()]).exits(110);
    refused.says("Failed to build `near").says("linux_x86_64");
}

/// The same archive as python-build-standalone has its larger ones, where packer reads those.
fn in_zstd(archive: &Path) -> PathBuf {
    if !cfg!(feature = "zstd") {
        return archive.to_path_buf();
    }
    let other = archive.with_extension("").with_extension("tar.zst");
    let script = "gzip -dc \"$1\" | zstd -q -o \"$2\"";
    Command::new("sh").args(["-c", script, "sh"]).arg(archive).arg(&other).finish().exits(0);
    other
}

#[test]
fn byte_code_stays_out_where_no_python_here_is_of_that_version() {
    let Some(workshop) =
        Workshop::open("[project]\nname = \"far\"\nversion = \"1.0\"\n[project.scripts]\nfar = \"far:main\"\n")
    else {
        return;
    };
    let interpreter = in_zstd(&workshop.interpreter("linux_arm64", "3.99.0"));
    let launcher = workshop.launcher("linux_arm64", b"");
    let options = ["--python", interpreter.to_str().unwrap(), "--launcher-bin", launcher.to_str().unwrap()];
    workshop.pack("linux_arm64", &options).exits(0).says("no byte code is packed, since there is no Python 3.99");
    let files = files(&workshop.inspect());
    assert!(has(&files, "lib/python3.99/os.py") && !has(&files, ".pyc"));
}
