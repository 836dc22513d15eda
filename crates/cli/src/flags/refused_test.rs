use super::*;
use clap::Parser;

#[derive(Parser)]
struct Probe {
    #[command(flatten)]
    refused: Refused,
    #[arg(trailing_var_arg = true)]
    rest: Vec<String>,
}

fn refusal(args: &[&str]) -> String {
    let probe = Probe::try_parse_from(std::iter::once(&"probe").chain(args)).unwrap();
    probe.refused.check().unwrap_err().to_string()
}

#[test]
fn every_flag_is_refused_by_name_in_one_line() {
    for flag in FLAGS {
        assert!(!flag.reason.contains('\n'));
        let long = format!("--{}", flag.long);
        let message = match flag.value {
            true => refusal(&[&long, "x", "image"]),
            false => refusal(&[&long, "image"]),
        };
        assert_eq!(message, format!("{long} is not supported: {}", flag.reason));
    }
}

#[test]
fn short_forms_and_attached_values() {
    for args in [["-c", "2"], ["-c2", "image"], ["--cpu-shares=2", "image"]] {
        assert!(refusal(&args).starts_with("--cpu-shares is not supported: "));
    }
    assert!(
        refusal(&["--tls-verify=false", "image"]).starts_with("--tls-verify is not supported: ")
    );
}

#[test]
fn the_containers_own_arguments_are_not_ours() {
    let probe = Probe::try_parse_from(["probe", "image", "ls", "-v", "--privileged"]).unwrap();
    assert_eq!(probe.refused.check(), Ok(()));
    assert_eq!(probe.rest, ["image", "ls", "-v", "--privileged"]);
}
