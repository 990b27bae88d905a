use super::*;

fn read(text: &str) -> Result<Manifest> {
    parse(text, Path::new("pyproject.toml"), Path::new("/project/pyproject.toml"))
}

fn refusal(text: &str) -> String {
    let error = read(text).expect_err("a refusal");
    assert_eq!(error.exit_code(), 109, "{error}");
    error.to_string()
}

const PROJECT: &str = "[project]\nname = \"my-app\"\nversion = \"1.0\"\n";

fn with_flavor(lines: &str) -> String {
    format!("{PROJECT}[tool.flavor]\n{lines}\n")
}

#[test]
fn everything_that_a_manifest_can_say_is_typed() {
    let manifest = read(
        r#"
        [build-system]
        requires = ["hatchling"]
        [project]
        name = "my-app"
        version = "1.0.0"
        description = "from the project"
        requires-python = ">=3.9"
        dependencies = [
            "flask>=2.0",
            "requests",
        ]
        optional-dependencies.fast = ["orjson"]
        scripts.my-app = "my_app.cli:main"
        scripts.my-admin = "my_app.admin:main"
        gui-scripts.my-window = "my_app.window:main"
        [tool.flavor]
        entry_point = "my_app.admin:main"
        python_version = "3.11"
        python = "~/pythons/3.11"
        package_name = "myapp"
        description = "from the table"
        app_id = "dev.example/myapp"
        release = 42
        exclude = ["docs/"]
        include = ["docs/help.txt"]
        "#,
    )
    .unwrap();
    assert_eq!(manifest.directory, Path::new("/project"));
    assert_eq!((manifest.package_name(), manifest.version.as_deref()), ("myapp", Some("1.0.0")));
    assert_eq!(manifest.description.as_deref(), Some("from the table"));
    assert_eq!(manifest.command.name, "my-admin");
    assert_eq!(manifest.command.field, "tool.flavor.entry_point");
    assert_eq!(manifest.scripts.len(), 3);
    assert_eq!(manifest.scripts["my-window"].field, "project.gui-scripts.my-window");
    let dependencies = manifest.dependencies.as_deref().unwrap();
    assert_eq!(dependencies[1], Requirement { text: "requests".into(), line: 11 });
    assert_eq!(manifest.optional_dependencies.as_ref().unwrap()["fast"][0].text, "orjson");
    assert_eq!(manifest.flavor.release, Some(42));
    assert_eq!((manifest.flavor.exclude.len(), manifest.flavor.include.len()), (1, 1));
    assert!(manifest.has_build_system && !manifest.has_setuptools_table);
}

#[test]
fn an_entry_point_that_is_no_script_is_named_like_the_project() {
    let manifest = read(&with_flavor("entry_point = \"app\"")).unwrap();
    assert_eq!((manifest.command.name.as_str(), manifest.command.entry_point.function.as_deref()), ("my-app", None));
}

#[test]
fn without_an_entry_point_the_script_named_like_the_project_is_taken() {
    let manifest = read(&format!("{PROJECT}[project.scripts]\nother = \"a:b\"\nmy_app = \"c:d\"\n")).unwrap();
    assert_eq!(manifest.command.name, "my_app");
    let manifest = read(&format!("{PROJECT}[project.scripts]\nother = \"a:b\"\n")).unwrap();
    assert_eq!(manifest.command.name, "other");
}

#[test]
fn without_an_entry_point_several_scripts_are_listed() {
    let refusal = refusal(&format!("{PROJECT}[project.scripts]\none = \"a:b\"\ntwo = \"c:d\"\n"));
    assert!(refusal.contains("one of a:b, c:d") && refusal.contains("one, two"), "{refusal}");
}

#[test]
fn nothing_to_run_is_refused() {
    assert!(refusal(PROJECT).contains("nothing says what the package should run"));
}

#[test]
fn an_unknown_key_is_refused_with_its_line_the_known_keys_and_the_nearest() {
    let refusal = refusal(&with_flavor("entrypoint = \"a:b\""));
    assert!(refusal.contains("\"entrypoint\" is not a key of [tool.flavor]"), "{refusal}");
    assert!(refusal.contains("pyproject.toml, line 5, tool.flavor.entrypoint"), "{refusal}");
    assert!(refusal.contains("app_id, build") && refusal.contains("did you mean \"entry_point\"?"), "{refusal}");
    assert!(!self::refusal(&with_flavor("zzz = 1")).contains("did you mean"));
}

#[test]
fn tables_inside_are_typed_and_checked_like_the_rest() {
    let refused = |lines: &str, words: &[&str]| {
        let refusal = refusal(&with_flavor(&format!("entry_point = \"a:b\"\n{lines}")));
        for word in words {
            assert!(refusal.contains(word), "{word:?} was expected for {lines:?} in {refusal}");
        }
    };
    let slot = |lines: &str| format!("[[tool.flavor.slots]]\nid = \"a\"\nsource = \"a\"\n{lines}");
    refused(&slot("lifecycle = \"lasy\""), &["line 9, tool.flavor.slots[0].lifecycle", "did you mean \"lazy\"?"]);
    refused(&slot("sorce = \"b\""), &["\"sorce\" is not a key of [[tool.flavor.slots]]", "\"source\"?"]);
    refused(&slot("id = \"python-runtime\"").replace("id = \"a\"\n", ""), &["packer has a slot python-runtime itself"]);
    refused(&slot("target = \"python/x\""), &["tool.flavor.slots[0].target", "python is packer's own"]);
    refused(&slot("target = \"../x\""), &["below the workenv"]);
    refused("[tool.flavor.slots]\nid = \"a\"", &["write [[tool.flavor.slots]], in two brackets"]);
    refused("[tool.flavor.build]\npre_builds = []", &["is not a key of [tool.flavor.build]", "\"pre_build\"?"]);
    refused("[tool.flavor.build]\npre_build = \"pytest\"", &["line 7", "a list of strings"]);
    refused(
        "[tool.flavor.build]\npre_build = [\"a\",\n\"b 'c\"]",
        &["line 8, tool.flavor.build.pre_build[1]", "quote"],
    );
    refused("[tool.flavor.build]\npost_build = [\" \"]", &["the command is empty"]);
    refused("[tool.flavor.build]\nmanylinux = \"2.28\"", &["line 7", "\"2_28\""]);
    refused("[tool.flavor.build]\nmanylinux = 2014", &["manylinux = \"2014\""]);
    refused("[tool.flavor.build]\ndependencies = [\">=1\"]", &["this is not a dependency"]);
    refused("[tool.flavor.execution]\narg = []", &["one of working_directory, args, runtime", "\"args\"?"]);
    refused("[tool.flavor.execution]\nargs = [\"{workenb}\"]", &["did you mean {workenv}?"]);
    refused("[tool.flavor.execution]\nargs = [\"{slot:0}\"]", &["there are no slots"]);
    refused("[tool.flavor.execution]\nworking_directory = \"../x\"", &["below the workenv"]);
    refused("[tool.flavor.execution.runtime.env]\nset = { A = 1 }", &["tool.flavor.execution.runtime.env.set.A"]);
    refused("[tool.flavor.policy]\nplatforms = [\"linux_amd46\"]", &["did you mean \"linux_amd64\"?"]);
    refused("[tool.flavor.policy]\nmax_age_day = 1", &["\"max_age_days\"?"]);
    refused("compression = \"rar\"", &["line 6, tool.flavor.compression", "one of raw, tar, gzip"]);
    refused("strip = 1", &["line 6, tool.flavor.strip", "true or false"]);

    let manifest = read(&with_flavor(
        r#"entry_point = "a:b"
        compression = "tgz"
        strip = true
        [tool.flavor.build]
        manylinux = ["manylinux2014", "manylinux_2_28"]
        dependencies = ["rich", "../part", "./here", "x @ file:///y/z"]
        pre_build = ["pytest -q 'a b'"]
        [tool.flavor.execution]
        working_directory = "{workenv}"
        "#,
    ))
    .unwrap();
    let flavor = manifest.flavor;
    assert_eq!(flavor.compression.map(|chain| chain.name()).as_deref(), Some("gzip"));
    assert!(flavor.strip);
    assert_eq!(flavor.build.manylinux.map(|standard| standard.minor), Some(28));
    let texts: Vec<&str> = flavor.build.dependencies.iter().map(|one| one.text.as_str()).collect();
    assert_eq!(texts, ["rich", "x @ file:///y/z"]);
    let paths: Vec<&Path> = flavor.build.projects.iter().map(|one| one.path.as_path()).collect();
    assert_eq!(paths, [Path::new("../part"), Path::new("./here")]);
    assert_eq!(flavor.build.pre_build[0].words, ["pytest", "-q", "a b"]);
    assert_eq!(flavor.execution.working_directory.as_deref(), Some("{workenv}"));
}

#[test]
fn keys_of_the_project_are_checked_unless_only_the_backend_can_know_them() {
    let with = |line: &str| format!("{PROJECT}{line}\n[tool.flavor]\nentry_point = \"a\"\n");
    for (line, words) in [
        ("dependancies = []", "did you mean \"dependencies\"?"),
        ("optional_dependencies = {}", "did you mean \"optional-dependencies\"?"),
        ("require-python = \">=3.9\"", "line 4, project.require-python"),
        ("dynamic = [\"verison\"]", "did you mean \"version\"?"),
        ("dependencies = \"flask\"", "a list of strings"),
        ("scripts = [\"a:b\"]", "project.scripts is not a table"),
        ("optional-dependencies.x = \"flask\"", "project.optional-dependencies.x"),
        ("requires-python = 3.9", "requires-python = \"3.9\""),
    ] {
        let refusal = refusal(&with(line));
        assert!(refusal.contains(words), "{line}: {refusal}");
    }
    let manifest = read(&with("zzz = 1\nimport-names = [\"a\"]")).unwrap();
    assert_eq!(manifest.flavor.notes, ["project.zzz means nothing to packer"]);
}

#[test]
fn a_table_that_is_nearly_called_like_ours_is_refused() {
    for name in ["flavour", "flavors", "Flavor", "favor"] {
        let refusal = refusal(&format!("{PROJECT}scripts.a = \"a:b\"\n[tool.{name}]\nentry_point = \"a\"\n"));
        assert!(refusal.contains("did you mean [tool.flavor]?") && refusal.contains("line 5"), "{refusal}");
    }
    read(&format!("{PROJECT}scripts.a = \"a:b\"\n[tool.flake8]\nx = 1\n[tool.flit]\ny = 1\n")).unwrap();
}

#[test]
fn the_documentation_has_every_key_with_a_test_that_exists() {
    let manual = include_str!("../../../../docs/manifest.md");
    let rows: Vec<&str> = manual.lines().filter(|line| line.starts_with("| `")).collect();
    let inner = [
        "slots[]",
        "build.pre_build",
        "build.post_build",
        "build.dependencies",
        "build.manylinux",
        "metadata.package_name",
    ];
    let more = ["execution.args", "execution.working_directory", "execution.runtime.env"];
    let tables = ["build", "execution", "metadata", "slots"];
    for key in KNOWN.iter().filter(|key| !tables.contains(key)).chain(&inner).chain(&more) {
        let row =
            rows.iter().find(|row| row.split(" | ").next().is_some_and(|first| first.contains(&format!("`{key}`"))));
        let row = row.unwrap_or_else(|| panic!("{key} has no row in docs/manifest.md"));
        assert!(row.contains("::") || row.ends_with("the same |"), "{key} has no test: {row}");
    }
    let root = ["package.name", "package.version", "package.description", "package.app_id", "package.release"];
    let more = ["execution.command", "execution.entry_points", "execution.env", "setup_commands[]", "runtime.env"];
    let last = [
        "execution.working_directory",
        "workenv.directories",
        "workenv.env",
        "cache_validation",
        "policy",
        "extensions",
    ];
    let slots = super::super::slots::KEYS.map(|key| format!("slots[].{key}"));
    for key in root.iter().chain(&more).chain(&last).map(|key| (*key).to_owned()).chain(slots) {
        let is_its = |row: &&&str| row.split(" | ").next().is_some_and(|first| first.contains(&format!("`{key}`")));
        // `policy` is a table of both kinds of manifest; the generic one comes last.
        let row = rows.iter().rev().find(is_its).unwrap_or_else(|| panic!("{key} has no row in docs/manifest.md"));
        assert!(row.split(" | ").nth(2).is_some_and(|tests| tests.contains("::")), "{key} has no test: {row}");
    }
    for name in manual.split('`').filter(|word| word.contains("::") && !word.contains(' ')) {
        let (file, test) = name.split_once("::").unwrap();
        let path = match file {
            "manifest" => "src/manifest/pyproject/tests.rs".to_owned(),
            "typed" => "src/manifest/generic/tests.rs".to_owned(),
            "plan" => "src/generic/tests.rs".to_owned(),
            _ => format!("tests/{file}.rs"),
        };
        let text = std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(text.contains(&format!("#[test]\nfn {test}()")), "{name} is in docs/manifest.md, but is no test");
    }
}

#[test]
fn a_version_that_is_decided_later_cannot_be_in_a_path() {
    let text = |target: &str| {
        format!(
            "[project]\nname = \"a\"\ndynamic = [\"version\"]\n[tool.flavor]\nentry_point = \"a\"\n\
             [[tool.flavor.slots]]\nid = \"x\"\nsource = \"x\"\ntarget = \"{target}\"\n"
        )
    };
    assert!(refusal(&text("x/{version}")).contains("the build backend decides the version later"));
    assert_eq!(read(&text("x/{package_name}")).unwrap().flavor.slots[0].target, "x/a");
}

#[test]
fn a_wrong_type_says_what_was_expected_and_found() {
    let refusal = refusal(&with_flavor("python_version = 3.11"));
    assert!(refusal.contains("line 5, tool.flavor.python_version"), "{refusal}");
    assert!(refusal.contains("expected: a string") && refusal.contains("a float: 3.11"), "{refusal}");
    assert!(refusal.contains("python_version = \"3.11\""), "{refusal}");
    let cases = [
        ("release = -1", "a whole number"),
        ("release = \"1\"", "a whole number"),
        ("exclude = \"docs\"", "a list of strings"),
        ("exclude = [1]", "a list of strings"),
        ("entry_point = [\"a\"]", "a string"),
    ];
    for (line, expected) in cases {
        assert!(self::refusal(&with_flavor(line)).contains(expected), "{line}");
    }
    assert!(self::refusal("project = 1").contains("a table"));
    assert!(self::refusal("tool = 1\n[project]\nname=\"a\"\nversion=\"1\"").contains("a table"));
}

#[test]
fn text_that_is_not_toml_is_refused_with_line_and_column() {
    let refusal = refusal("[project]\nname = \"a\nversion = 1");
    assert!(refusal.contains("not TOML") && refusal.contains("line 2") && refusal.contains("column"), "{refusal}");
}

#[test]
fn what_is_missing_is_named() {
    assert!(refusal("").contains("no [project] table"));
    assert!(refusal("[tool.poetry]\nname = \"a\"").contains("poetry.core.masonry.api"));
    assert!(refusal("[build-system]\n[tool.poetry]\nversion = \"1\"").contains("tool.poetry.name"));
    assert!(refusal("[project]\nversion = \"1\"").contains("project.name"));
    assert!(refusal("[project]\nname = \"a\"").contains("project.version"));
    let dynamic =
        "[project]\nname = \"a\"\ndynamic = [\"version\", \"dependencies\"]\n[tool.flavor]\nentry_point = \"a\"";
    let manifest = read(dynamic).unwrap();
    assert!(manifest.version.is_none() && manifest.dependencies.is_none());
}

#[test]
fn poetry_s_own_table_says_what_project_does_not() {
    let text = "[build-system]\n[tool.poetry]\nname = \"a\"\nversion = \"1\"\ndescription = \"d\"\n\
                [tool.poetry.scripts]\na = \"b:c\"\n[tool.poetry.dependencies]\nrequests = { version = \"^2\" }\n";
    let manifest = read(text).unwrap();
    assert_eq!((&*manifest.name, manifest.version.as_deref()), ("a", Some("1")));
    assert_eq!(manifest.description.as_deref(), Some("d"));
    assert_eq!(manifest.command.entry_point.to_string(), "b:c");
    assert!(manifest.dependencies.is_none() && manifest.optional_dependencies.is_none());
    let range = |python: &str| {
        let manifest = read(&format!("{text}python = \"{python}\"\n")).unwrap();
        manifest.requires_python.map(|specifier| specifier.to_string())
    };
    for (python, expected) in [
        ("^3.9", Some(">=3.9,<4")),
        ("^3", Some(">=3,<4")),
        ("~3.9.1", Some(">=3.9.1,<3.10")),
        ("~3", Some(">=3,<4")),
        ("^3.9, !=3.9.7", Some(">=3.9,<4,!=3.9.7")),
        ("~=3.9", Some("~=3.9")),
        (">=3.9,<3.14", Some(">=3.9,<3.14")),
        ("^3.9 || ^4.0", None),
        ("~3.4294967295", None),
        ("*", None),
    ] {
        assert_eq!(range(python).as_deref(), expected, "{python}");
    }
}

#[test]
fn names_and_versions_that_are_none_are_refused() {
    let cases = [
        ("[project]\nname = \"-a\"\nversion = \"1\"", "PEP 508"),
        ("[project]\nname = \"a b\"\nversion = \"1\"", "PEP 508"),
        ("[project]\nname = \"a\"\nversion = \"../1\"", "PEP 440"),
        (
            "[project]\nname = \"a\"\nversion = \"1\"\nrequires-python = \"3.9\"\n[tool.flavor]\nentry_point=\"a\"",
            "specifier",
        ),
        (
            "[project]\nname = \"a\"\nversion = \"1\"\ndependencies = [\">=1\"]\n[tool.flavor]\nentry_point=\"a\"",
            "dependency",
        ),
        ("[project]\nname = \"a\"\nversion = \"1\"\nscripts.\"a/b\" = \"a:b\"", "file name"),
        ("[project]\nname = \"a\"\nversion = \"1\"\nscripts.a = \"a b\"", "Python can import"),
    ];
    for (text, expected) in cases {
        assert!(refusal(text).contains(expected), "{text}: {}", refusal(text));
    }
    for lines in [
        "python_version = \">=3.11\"",
        "python_version = \"3\"",
        "entry_point = \"a-b:c\"",
        "package_name = \"a/b\"",
        "app_id = \"\"",
    ] {
        refusal(&with_flavor(lines));
    }
}
