use super::*;
use clap::CommandFactory;

#[test]
fn the_command_line_contradicts_itself_nowhere() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_says_what_it_is_for() {
    let command = Cli::command();
    let mut open: Vec<_> = command.get_subcommands().collect();
    while let Some(verb) = open.pop() {
        assert!(
            verb.get_about().is_some(),
            "{} says nothing",
            verb.get_name()
        );
        open.extend(verb.get_subcommands());
    }
}

#[test]
fn help_of_run() {
    let mut command = Cli::command();
    let run = command.find_subcommand_mut("run").unwrap();
    insta::assert_snapshot!(run.clone().term_width(100).render_help());
}
