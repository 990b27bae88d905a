use std::path::Path;

use pspf_core::format::Operations;
use pspf_core::metadata::Lifecycle;

use super::super::slots::LIFECYCLES;
use super::*;
use crate::platform::Platform;

fn toml(text: &str) -> Result<Generic> {
    let source = Source { text, file: Path::new("app.toml"), language: Language::Toml };
    parse(source, Path::new("/project/app.toml"))
}

fn json(text: &str) -> Result<Generic> {
    let source = Source { text, file: Path::new("app.json"), language: Language::Json };
    parse(source, Path::new("/project/app.json"))
}

#[track_caller]
fn refusal(result: Result<Generic>) -> String {
    let error = result.expect_err("a refusal");
    assert_eq!(error.exit_code(), 109, "{error}");
    let text = error.to_string();
    assert!(text.contains("\n  try:"), "a next step was expected in {text}");
    text
}

/// Lines 1 to 5 of every manifest below.
const START: &str =
    "[package]\nname = \"app\"\nversion = \"1.0\"\n[execution]\ncommand = \"/bin/sh {workenv}/app/run\"\n";

#[track_caller]
fn is_refused(lines: &str, words: &[&str]) {
    let refusal = refusal(toml(&format!("{START}{lines}\n")));
    for word in words {
        assert!(refusal.contains(word), "{word:?} was expected for {lines:?} in {refusal}");
    }
}

fn slot(lines: &str) -> String {
    format!("[[slots]]\nid = \"a\"\nsource = \"a\"\n{lines}")
}

const EVERYTHING: &str = r#"
    x-made-by = "hand"
    [package]
    name = "app"
    version = "1.0"
    description = "does things"
    app_id = "dev.example/app"
    release = 7
    [execution]
    command = ["{workenv}/bin/app", "--name", "a b"]
    env = { DATA = "{slot:1}/x" }
    entry_points = { admin = ["{workenv}/bin/admin", "a b"] }
    [[slots]]
    id = "app"
    source = "bin/"
    target = "bin"
    purpose = "code"
    lifecycle = "eager"
    operations = "tgz"
    permissions = "0755"
    platform = "linux_amd64"
    encoded = false
    exclude = ["*.o"]
    [[slots]]
    id = "data"
    source = "data.csv"
    target = "{workenv}/share/{package_name}/data.csv"
    lifecycle = "persistent"
    permissions = 0o600
    [[setup_commands]]
    type = "write_file"
    path = "{workenv}/etc/app.conf"
    content = "{ root = {workenv} }"
    mode = "0600"
    [[setup_commands]]
    type = "chmod"
    path = "bin/app"
    mode = "0755"
    [[setup_commands]]
    type = "execute"
    command = "{workenv}/bin/app prepare"
    [[setup_commands]]
    type = "enumerate_and_execute"
    enumerate = { path = "{slot:0}/plugins", pattern = "*.so" }
    command = "{workenv}/bin/app plugin"
    [runtime.env]
    unset = ["PYTHON*"]
    pass = ["HOME"]
    set = { A = "{version}" }
    map = { OLD = "NEW" }
    [workenv]
    directories = [{ path = "var/log", mode = "0700" }, { path = "{workenv}/tmp" }]
    env = { TMPDIR = "{workenv}/tmp" }
    [cache_validation]
    check_file = "etc/app.conf"
    expected_content = "x"
    [policy]
    platforms = ["linux_amd64"]
    refuse_root = true
    max_age_days = 30
    require_env = ["HOME"]
    [extensions]
    x-mine = { a = [1, -2, 1.5, true] }
"#;

#[test]
fn everything_that_a_manifest_can_say_is_typed() {
    let manifest = toml(EVERYTHING).unwrap();
    assert_eq!(manifest.directory, Path::new("/project"));
    assert_eq!((manifest.app_id.as_deref(), manifest.release), (Some("dev.example/app"), Some(7)));
    assert_eq!(
        manifest.document.to_text(),
        concat!(
            r#"{"package":{"name":"app","version":"1.0","description":"does things"},"#,
            r#""execution":{"command":"{workenv}/bin/app --name 'a b'","env":{"DATA":"{slot:1}/x"}},"#,
            r#""setup_commands":["#,
            r#"{"type":"write_file","path":"{workenv}/etc/app.conf","content":"{ root = {workenv} }","mode":"0600"},"#,
            r#"{"type":"chmod","path":"{workenv}/bin/app","mode":"0755"},"#,
            r#"{"type":"execute","command":"{workenv}/bin/app prepare"},"#,
            r#"{"type":"enumerate_and_execute","command":"{workenv}/bin/app plugin","#,
            r#""enumerate":{"path":"{workenv}/bin/plugins","pattern":"*.so"}}],"#,
            r#""runtime":{"env":{"unset":["PYTHON*"],"pass":["HOME"],"map":{"OLD":"NEW"},"set":{"A":"{version}"}}},"#,
            r#""workenv":{"directories":[{"path":"{workenv}/var/log","mode":"0700"},{"path":"{workenv}/tmp"}],"#,
            r#""env":{"TMPDIR":"{workenv}/tmp"}},"#,
            r#""cache_validation":{"check_file":"{workenv}/etc/app.conf","expected_content":"x"},"#,
            r#""policy":{"max_age_days":30,"platforms":["linux_amd64"],"refuse_root":true,"require_env":["HOME"]},"#,
            r#""extensions":{"x-mine":{"a":[1,-2,1.5,true]}},"#,
            r#""x-made-by":"hand"}"#
        )
    );
    let [app, data] = &manifest.slots[..] else { panic!("{:?}", manifest.slots) };
    assert_eq!((app.target.as_str(), app.purpose.as_str(), app.lifecycle), ("bin", "code", Lifecycle::Eager));
    assert_eq!((app.operations, app.permissions, app.encoded), (Some(Operations::TAR_GZIP), Some(0o755), Some(false)));
    assert_eq!(app.platform, Platform::from_name("linux_amd64"));
    assert_eq!(
        (data.target.as_str(), data.lifecycle, data.permissions),
        ("share/app/data.csv", Lifecycle::Config, Some(0o600))
    );
    assert_eq!((data.purpose.as_str(), data.operations, data.encoded), ("payload", None, None));
    let words = |programs: &[Program]| programs.iter().map(|program| program.word.clone()).collect::<Vec<_>>();
    assert_eq!(words(&manifest.programs), ["{workenv}/bin/app", "{workenv}/bin/admin"]);
    assert_eq!(words(&manifest.setup_programs), ["{workenv}/bin/app"; 2]);
    assert_eq!(manifest.entry_points["admin"], "{workenv}/bin/admin 'a b'");
    assert_eq!((manifest.written, manifest.chmods), (vec!["etc/app.conf".to_owned()], vec!["bin/app".to_owned()]));
    assert_eq!(manifest.notes, [""; 0]);
}

#[test]
fn json_says_the_same_as_toml() {
    let manifest = json(
        r#"{"package": {"name": "app", "version": "1.0"},
            "execution": {"command": "/bin/sh {workenv}/app/run"},
            "slots": [{"id": "a", "source": "a", "permissions": "0700", "encoded": true}],
            "policy": {"max_age_days": null}}"#,
    )
    .unwrap();
    assert!(manifest.is_json());
    assert_eq!((manifest.slots[0].permissions, manifest.slots[0].encoded), (Some(0o700), Some(true)));
    assert!(manifest.document.to_text().contains(r#""policy":{"max_age_days":null}"#));
}

#[test]
fn what_only_finished_metadata_say_is_told_and_not_used() {
    let manifest = json(
        r#"{"format": "PSPF/2025", "format_version": "1.0.0", "package": {"name": "app", "version": "1"},
            "slots": [{"slot": 0, "id": "a", "source": "a", "target": "a", "type": "file", "resolution": "build",
                       "size": 3, "checksum": "sha256:00", "operations": "gzip", "self_ref": false}],
            "execution": {"command": "/bin/true", "environment": {"A": "1"}, "env": {"B": "2"}},
            "signature": {"private_key": null}, "build": {"x": 1}}"#,
    )
    .unwrap();
    assert_eq!(manifest.notes, ["packer decides build, signature itself; what the manifest says of it is not used"]);
    let text = manifest.document.to_text();
    assert!(text.contains(r#""env":{"A":"1","B":"2"}"#) && !text.contains("signature"), "{text}");
    let other =
        json(r#"{"format": "PSPF/2026", "package": {"name": "a", "version": "1"}, "execution": {"command": "/a"}}"#);
    assert!(refusal(other).contains("another format"));
    let itself = json(
        r#"{"package": {"name": "a", "version": "1"}, "execution": {"command": "/a"},
            "slots": [{"id": "a", "source": "a", "self_ref": true}]}"#,
    );
    assert!(refusal(itself).contains("slots[0].self_ref"));
}

#[test]
fn what_is_missing_is_named() {
    assert!(refusal(toml("")).contains("add [package]"));
    assert!(refusal(json("{}")).contains("add \"package\": {"));
    assert!(refusal(toml("[package]\nversion = \"1\"")).contains("package.name is missing"));
    assert!(refusal(toml("[package]\nname = \"a\"")).contains("add version = \"1.0.0\" to [package]"));
    let nothing = refusal(toml("[package]\nname = \"a\"\nversion = \"1\""));
    assert!(nothing.contains("execution.command") && nothing.contains("[execution]"), "{nothing}");
    is_refused("[[slots]]\nsource = \"a\"", &["slots[0].id is missing", "line 6", "to [[slots]]"]);
    is_refused("[[slots]]\nid = \"a\"", &["slots[0].source is missing"]);
    is_refused("[[setup_commands]]\ncommand = \"a\"", &["setup_commands[0].type is missing"]);
    is_refused("[[setup_commands]]\ntype = \"chmod\"\npath = \"a\"", &["setup_commands[0].mode is missing"]);
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_one() {
    is_refused("[slot]", &["\"slot\" is not a key of the manifest", "line 6", "did you mean \"slots\"?"]);
    is_refused(&slot("sorce = 1"), &["\"sorce\" is not a key of [[slots]]", "line 9, slots[0].sorce", "\"source\"?"]);
    is_refused(&slot("x-mine = 1"), &["slots[0].x-mine", "never ignored"]);
    is_refused("[runtime.env]\nunsets = []", &["\"unsets\" is not a key of [runtime.env]", "\"unset\"?"]);
    is_refused("[policy]\nplatform = []", &["one of platforms", "did you mean \"platforms\"?"]);
    is_refused(
        "[workenv]\ndirectories = [{ path = \"a\", modes = \"0755\" }]",
        &["workenv.directories[0].modes", "\"mode\"?"],
    );
    let text = "{\"package\": {\"name\": \"a\", \"version\": \"1\"},\n \"execution\": {\"command\": \"/a\"},\n\n \"slots\": [{\"id\": \"a\", \"sorce\": \"b\"}]}";
    let refusal = refusal(json(text));
    for word in ["\"sorce\" is not a key of slots[0]", "app.json, line 4, slots[0].sorce", "did you mean \"source\"?"] {
        assert!(refusal.contains(word), "{word:?} was expected in {refusal}");
    }
}

#[test]
fn a_wrong_type_says_what_was_expected_and_found() {
    let cases = [
        ("slots = 1", "a list of tables"),
        ("[slots]\nid = \"a\"", "write [[slots]], in two brackets"),
        ("[policy]\nrefuse_root = 1", "true or false"),
        ("[policy]\nmax_age_days = -1", "a whole number"),
        ("[workenv]\nenv = { A = 1 }", "write it in quotes: A = \"1\""),
        ("[extensions]\na = 2020-01-01", "JSON has no dates"),
        ("[extensions]\na = inf", "a number that JSON can hold"),
    ];
    for (lines, expected) in cases {
        // A key of the root goes in front.
        let text = if lines.starts_with('[') { format!("{START}{lines}") } else { format!("{lines}\n{START}") };
        assert!(refusal(toml(&text)).contains(expected), "{lines}");
    }
    is_refused(&slot("encoded = \"yes\""), &["slots[0].encoded is not true or false", "a string: \"yes\""]);
}

#[test]
fn words_that_are_none_of_the_known_ones_are_refused_with_all_of_them() {
    is_refused(&slot("lifecycle = \"persistant\""), &["one of runtime, cached", "did you mean \"persistent\"?"]);
    is_refused(&slot("operations = \"tar.rar\""), &["one of raw, tar, gzip, tgz", "slots[0].operations"]);
    is_refused(&slot("operations = \"0x0110\""), &["operations"]);
    is_refused(&slot("platform = \"macos\""), &["any, linux, darwin"]);
    is_refused("[policy]\nplatforms = [\"linux_amd46\"]", &["did you mean \"linux_amd64\"?"]);
    is_refused(
        "[[setup_commands]]\ntype = \"exec\"",
        &["execute, enumerate_and_execute, write_file, chmod", "\"execute\"?"],
    );
    for name in LIFECYCLES {
        assert!(Lifecycle::from_name(name).is_some(), "{name}");
    }
}

#[test]
fn modes_are_octal() {
    for (written, mode) in
        [("\"0755\"", 0o755), ("\"644\"", 0o644), ("\"0o600\"", 0o600), ("0o700", 0o700), ("\"0\"", 0)]
    {
        let manifest = toml(&format!("{START}{}", slot(&format!("permissions = {written}")))).unwrap();
        assert_eq!(manifest.slots[0].permissions, Some(mode), "{written}");
    }
    is_refused(&slot("permissions = 755"), &["write permissions as \"0755\""]);
    for written in ["\"rwxr-xr-x\"", "\"0788\"", "\"4755\"", "\"\"", "\"+755\"", "0o4755", "true"] {
        is_refused(&slot(&format!("permissions = {written}")), &["octal mode bits", "slots[0].permissions"]);
    }
}

#[test]
fn paths_stay_below_the_workenv() {
    for path in
        ["/etc/passwd", "../x", "a/../../x", "{workenv}/../x", "a//b", "a/./b", "a\\\\b", "{workenv}x", "{slot:0"]
    {
        is_refused(
            &format!("[[setup_commands]]\ntype = \"chmod\"\nmode = \"0755\"\npath = \"{path}\""),
            &["below the workenv", "setup_commands[0].path"],
        );
        is_refused(&slot(&format!("target = \"{path}\"")), &["below the workenv", "slots[0].target"]);
    }
    // Only slots merge into the root.
    is_refused("[workenv]\ndirectories = [{ path = \"{workenv}\" }]", &["below the workenv"]);
    for (written, target) in
        [(".", ""), ("{workenv}", ""), ("./", ""), ("a", "a"), ("{workenv}/a/b", "a/b"), ("a/", "a/"), ("./a", "a")]
    {
        let manifest = toml(&format!("{START}{}", slot(&format!("target = \"{written}\"")))).unwrap();
        assert_eq!(manifest.slots[0].target, target, "{written}");
    }
}

#[test]
fn placeholders_are_checked_where_they_are_filled_in() {
    let command = |command: &str| START.replace("/bin/sh {workenv}/app/run", command);
    assert!(refusal(toml(&command("{workenb}/run"))).contains("did you mean {workenv}?"));
    assert!(refusal(toml(&command("/bin/x {slot:0}"))).contains("there are no slots"));
    is_refused(
        &slot("[execution.env]\nA = \"{slot:9}\"").replace("[execution.env]", "[workenv.env]"),
        &["{slot:9}", "{slot:0}", "workenv.env.A"],
    );
    is_refused(
        &slot("[[setup_commands]]\ntype = \"write_file\"\npath = \"a\"\ncontent = \"{slot:1}\""),
        &["{slot:1}", "setup_commands[0].content"],
    );
    is_refused(
        "[[setup_commands]]\ntype = \"chmod\"\nmode = \"0755\"\npath = \"{home}/x\"",
        &["{home}", "placeholder"],
    );
    // In a text of the user's, braces are braces; in a command, those that mean nothing are told.
    let manifest = toml(&format!(
        "{}[[setup_commands]]\ntype = \"write_file\"\npath = \"a\"\ncontent = \"{{workenb}} {{}}\"",
        command("/bin/echo {message} {version}")
    ))
    .unwrap();
    assert_eq!(manifest.notes, ["{message} in execution.command is no placeholder and stays as it is"]);
}

#[test]
fn commands_are_words() {
    let command = |command: &str| toml(&START.replace("\"/bin/sh {workenv}/app/run\"", command));
    assert_eq!(command("\"'/a b/run' x\"").unwrap().programs[0].word, "/a b/run");
    assert_eq!(command("[\"/a b/run\", \"x\"]").unwrap().programs[0].word, "/a b/run");
    for (written, word) in [
        ("\"/bin/sh 'x\"", "a quote is not closed"),
        ("\"  \"", "the command is empty"),
        ("[]", "the command is empty"),
        ("\"''\"", "the command is empty"),
        ("[1]", "a list of strings"),
        ("7", "a string"),
    ] {
        assert!(refusal(command(written)).contains(word), "{written}");
    }
}

#[test]
fn names_that_cannot_be_are_refused() {
    for name in ["", "a/b", "..", "a b", "{version}"] {
        assert!(refusal(toml(&START.replace("\"app\"", &format!("{name:?}")))).contains("package.name"), "{name:?}");
    }
    for version in ["", "1/2", "../1", "v 1"] {
        assert!(
            refusal(toml(&START.replace("\"1.0\"", &format!("{version:?}")))).contains("package.version"),
            "{version:?}"
        );
    }
    for id in ["", "a/b", "..", "a\\nb"] {
        is_refused(&format!("[[slots]]\nid = \"{id}\"\nsource = \"a\""), &["slots[0].id"]);
    }
    is_refused(&[slot(""), slot("")].concat(), &["two slots are called \"a\"", "slots[1].id", "line 10"]);
    is_refused("[runtime.env]\nset = { \"A=B\" = \"c\" }", &["runtime.env.set.A=B", "name of a variable"]);
    is_refused("[runtime.env]\nmap = { A = \"\" }", &["name of a variable"]);
    is_refused(&slot("exclude = [\"{a\"]"), &["slots[0].exclude", "pattern"]);
    is_refused(&slot("source2 = \"x\""), &["source2"]);
    is_refused("[extensions]\nx-pspf-claims = {}", &["packer writes this extension itself"]);
    is_refused("[workenv]\nenv = { A = \"\\u0000\" }", &["without NUL"]);
}
