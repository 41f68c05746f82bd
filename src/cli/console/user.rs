//! `visavis console user`: the people who use the console.

use std::process::ExitCode;

use anyhow::Result;

use super::{accounts::with_accounts, password};
use crate::{
    accounts::{AccountStore, NewUser, PasswordHash, Role, UserChange, UserInfo, check_password},
    app,
    cli::DataArgs,
    clients::printable,
    config::Config,
    db::Access,
};

/// Subcommands of `console user`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user. Asks for the password, or reads it from standard input
    Add(AddArgs),
    /// List the users
    List(ListArgs),
    /// Change a user. Ends their sessions
    Set(SetArgs),
    /// Delete a user. Ends their sessions
    Delete(DeleteArgs),
}

/// Arguments of `console user add`.
#[derive(Debug, clap::Args)]
pub(crate) struct AddArgs {
    /// Name of the user
    name: String,
    /// viewer reads; operator also compares and changes clients; administrator also manages users
    #[arg(long, value_name = "viewer|operator|administrator", value_parser = role)]
    role: Role,
    #[command(flatten)]
    data: DataArgs,
}

/// Arguments of `console user list`.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// Arguments of `console user set`.
#[derive(Debug, clap::Args)]
#[group(id = "what", required = true, multiple = true)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of the command line")]
pub(crate) struct SetArgs {
    /// Name of the user
    #[arg(group = "who")]
    name: String,
    /// Another role
    #[arg(long, value_name = "viewer|operator|administrator", value_parser = role, group = "what")]
    role: Option<Role>,
    /// Set a new password: asks for it, or reads it from standard input. Also ends a lock
    #[arg(long, group = "what")]
    password: bool,
    /// Refuse the logins of the user
    #[arg(long, group = "what", conflicts_with = "enable")]
    disable: bool,
    /// Allow the logins of the user again. Also ends a lock
    #[arg(long, group = "what")]
    enable: bool,
    /// Remove the second factor
    #[arg(long, group = "what")]
    reset_code: bool,
    #[command(flatten)]
    data: DataArgs,
}

/// Arguments of `console user delete`.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// Name of the user
    name: String,
    #[command(flatten)]
    data: DataArgs,
}

impl UserCommand {
    pub(super) fn data(&self) -> &DataArgs {
        match self {
            Self::Add(args) => &args.data,
            Self::List(args) => &args.data,
            Self::Set(args) => &args.data,
            Self::Delete(args) => &args.data,
        }
    }
}

pub(super) fn run(config: &Config, command: &UserCommand) -> Result<ExitCode> {
    match command {
        UserCommand::Add(args) => add(config, args)?,
        UserCommand::List(args) => {
            let users =
                with_accounts(config, Access::Read, async |accounts| Ok(accounts.list().await?))?;
            list(&users, args.json)?;
        }
        UserCommand::Set(args) => set(config, args)?,
        UserCommand::Delete(args) => {
            with_accounts(config, Access::Change, async |accounts| {
                Ok(accounts.delete(&args.name).await?)
            })?;
            out!("user {} deleted", args.name);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn add(config: &Config, args: &AddArgs) -> Result<()> {
    let password = new_password(&args.name)?;
    with_accounts(config, Access::Create, async |accounts: &AccountStore| {
        accounts.add(NewUser { name: &args.name, role: args.role, password }).await?;
        Ok(())
    })?;
    if args.role == Role::Administrator {
        // It opens nothing from now on.
        app::token_file(config).remove()?;
    }
    out!("user {} added with the role {}", args.name, args.role.as_str());
    Ok(())
}

fn set(config: &Config, args: &SetArgs) -> Result<()> {
    let password = args.password.then(|| new_password(&args.name)).transpose()?;
    let change = UserChange {
        role: args.role,
        password,
        disabled: (args.disable || args.enable).then_some(args.disable),
        code_key: args.reset_code.then_some(None),
    };
    with_accounts(config, Access::Change, async |accounts| {
        Ok(accounts.change(&args.name, &change).await?)
    })?;
    out!("user {} updated; their sessions have ended", args.name);
    Ok(())
}

fn new_password(name: &str) -> Result<PasswordHash> {
    let password = password::read()?;
    check_password(&password, name)?;
    Ok(PasswordHash::new(&password)?)
}

fn list(users: &[UserInfo], json: bool) -> Result<()> {
    if json {
        out!("{}", serde_json::to_string_pretty(users)?);
        return Ok(());
    }
    let width = users.iter().map(|user| user.name.chars().count()).max().unwrap_or(0).max(16);
    out!("{:<width$} {:<14} {:<8} STATE", "NAME", "ROLE", "CODE");
    for user in users {
        let state = match user {
            UserInfo { tampered: true, .. } => "CHANGED OUTSIDE OF VISAVIS",
            UserInfo { disabled_at: Some(_), .. } => "disabled",
            _ => "enabled",
        };
        let code = if user.has_code { "yes" } else { "no" };
        out!("{:<width$} {:<14} {code:<8} {state}", printable(&user.name), user.role.as_str());
    }
    Ok(())
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "expected viewer, operator or administrator".to_owned())
}
