//! `latchkey-api`: the API server and the operator's commands.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::{Parser, Subcommand};
use latchkey_api::{
    key_file, serve, spec,
    verify::{Known, Outcome as Verified, verify},
};
use latchkey_shared::{
    administration::reset_mfa_for_operator,
    auth::bootstrap::{Bootstrapped, bootstrap},
    clock::SystemClock,
    config::{Config, Process},
    context::{Context, OpenError},
    crypto::signing::Algorithm,
    diagnosis::{Level, diagnose},
    postgres::role_of,
    random::OsRandom,
    reseal::reseal,
    secret::Secret,
    seed::{Seed, seed},
    tenant::{Directory, ResolveError},
    user::Email,
};

/// The API server of Latchkey.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// A TOML file; every key can be overridden by `LATCHKEY__SECTION__KEY`.
    #[arg(long, env = "LATCHKEY_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API (the default).
    Serve,
    /// Bring the database up to date.
    Migrate,
    /// Make the platform's tenant and its administrator, where they are missing. Fails where the address belongs to a
    /// user who is no owner of the platform.
    Bootstrap {
        /// The administrator's address.
        #[arg(long)]
        email: String,
        /// A file that holds the administrator's password.
        #[arg(long)]
        password_file: PathBuf,
    },
    /// Help users whom no administrator can help.
    Users {
        #[command(subcommand)]
        command: UsersCommand,
    },
    /// Make many tenants with many users, to measure with; in development only.
    Seed {
        /// So many tenants.
        #[arg(long, default_value_t = 10_000)]
        tenants: u32,
        /// So many users in each.
        #[arg(long, default_value_t = 100)]
        users: u32,
        /// A file that holds the password of every user.
        #[arg(long)]
        password_file: PathBuf,
    },
    /// Look at all that a process depends on: databases, mail server, keys, clocks, workers. Fails where something does not
    /// work, and changes nothing.
    Doctor,
    /// Look at the settings.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Look after the audit trail.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Make, change and look at the keys that sign access tokens; and seal anew what another data key has sealed.
    Keys {
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Write the OpenAPI document into openapi/.
    Openapi {
        /// Write nothing; fail if the files differ from the code.
        #[arg(long)]
        check: bool,
    },
}

#[derive(Subcommand)]
enum UsersCommand {
    /// Remove the second factor of a user who has lost it and the recovery codes, end every session, and tell the user by
    /// mail. Changes nothing where there is none.
    ResetMfa {
        /// The tenant's slug.
        #[arg(long)]
        tenant: String,
        /// The user's address.
        #[arg(long)]
        email: String,
    },
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Name every fault.
    Check,
    /// Print the settings in force, without secrets.
    Dump,
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Find what was altered, removed, inserted or moved. Exits with 0 when there is nothing, with 1 when there is
    /// something, and with 2 when it cannot be told.
    Verify {
        /// One tenant's trail alone: its id, which a deleted one has too, or its slug.
        #[arg(long)]
        tenant: Option<String>,
        /// For so many seconds a row may be without its seal.
        #[arg(long, default_value_t = 60)]
        grace: u32,
        /// What an earlier run has printed: finds a database that was set back since.
        #[arg(long)]
        against: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum KeysCommand {
    /// Print a new key, as an entry of `tokens.keys`.
    Generate {
        /// hs256, eddsa or es256.
        #[arg(long, default_value = "hs256", value_parser = algorithm)]
        alg: Algorithm,
    },
    /// Put a new key in front of a file of keys. Processes that read the file take it up within a second.
    Rotate {
        /// The file that `tokens.keys_file` names.
        #[arg(long)]
        file: PathBuf,
        /// hs256, eddsa or es256; as the key in use by default.
        #[arg(long, value_parser = algorithm)]
        alg: Option<Algorithm>,
        /// So many keys stay, the new one included.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
        keep: u16,
    },
    /// Print the ids and algorithms of a file's keys, the one in use first.
    List {
        /// The file that `tokens.keys_file` names.
        #[arg(long)]
        file: PathBuf,
    },
    /// Seal anew, under the data key in use, what another one of `secrets.data_keys` has sealed, so that that one can go. Runs
    /// beside everything else, and may be stopped and run again. Exits with 1 when something is left.
    Reseal,
}

fn algorithm(word: &str) -> Result<Algorithm, &'static str> {
    word.parse()
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match Box::pin(run(arguments)).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("latchkey-api: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let load = || Config::load(Process::Api, arguments.config.as_deref());
    let done = match arguments.command.unwrap_or(Command::Serve) {
        Command::Audit { command } => return Ok(audit(arguments.config.as_deref(), command).await),
        Command::Serve => Ok(serve::serve(load()?).await?),
        Command::Migrate => migrate(&load()?).await,
        Command::Bootstrap { email, password_file } => set_up(load()?, &email, &password_file).await,
        Command::Users {
            command: UsersCommand::ResetMfa { tenant, email },
        } => reset_mfa(load()?, &tenant, &email).await,
        Command::Seed {
            tenants,
            users,
            password_file,
        } => {
            let password = password(&password_file)?;
            let context = open(load()?).await?;
            let request = Seed {
                tenants,
                users,
                password,
            };
            println!("{} users were made", seed(&context, request).await?);
            context.postgres.close().await;
            Ok(())
        }
        Command::Config {
            command: ConfigCommand::Check,
        } => {
            load()?;
            println!("the configuration is good");
            Ok(())
        }
        Command::Config {
            command: ConfigCommand::Dump,
        } => {
            println!("{:#?}", load()?);
            Ok(())
        }
        Command::Doctor => doctor(load()?).await,
        Command::Keys { command } => keys(arguments.config.as_deref(), command).await,
        Command::Openapi { check } => openapi(check),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Whoever asks must not take a failure to look for a finding: it has a code of its own.
async fn audit(config: Option<&Path>, command: AuditCommand) -> ExitCode {
    let AuditCommand::Verify {
        tenant,
        grace,
        against,
    } = command;
    let checked = async {
        let known = match against {
            Some(file) => {
                let text =
                    fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
                Known::read(&text)?
            }
            None => Known::default(),
        };
        let context = open(Config::load(Process::Api, config)?).await?;
        let (grace, mut out) = (Duration::from_secs(grace.into()), std::io::stdout());
        let checked = verify(&context, tenant.as_deref(), grace, known, &mut out).await?;
        context.postgres.close().await;
        Ok::<_, Box<dyn std::error::Error>>(checked)
    };
    let outcome = checked.await.unwrap_or_else(|error| {
        eprintln!("latchkey-api: the audit trail was not verified: {error}");
        Verified::Unchecked
    });
    outcome.into()
}

async fn migrate(config: &Config) -> Outcome {
    let owner = config
        .postgres
        .migrate_url
        .as_ref()
        .ok_or("postgres.migrate_url: is missing")?;
    let application = role_of(config.postgres.url.expose())?;
    latchkey_migration::migrate(owner.expose(), &application).await?;
    println!("the database is at {}", latchkey_migration::expected_version());
    Ok(())
}

async fn doctor(config: Config) -> Outcome {
    let schema = latchkey_migration::expected_version();
    let findings = diagnose(config, &schema, Arc::new(SystemClock), Arc::new(OsRandom::new())).await;
    for finding in &findings {
        println!("{finding}");
    }
    let broken = findings
        .iter()
        .filter(|finding| finding.level == Level::Broken)
        .count();
    if broken == 0 {
        Ok(())
    } else {
        Err(format!("{broken} of {} do not work", findings.len()).into())
    }
}

async fn set_up(config: Config, email: &str, password_file: &Path) -> Outcome {
    let email = Email::parse(email)?;
    let password = password(password_file)?;
    let context = open(config).await?;
    match bootstrap(&context, email, password).await? {
        Bootstrapped::Created => println!("the administrator was made"),
        Bootstrapped::Unchanged => println!("the administrator is there; nothing was changed"),
    }
    context.postgres.close().await;
    Ok(())
}

async fn reset_mfa(config: Config, tenant: &str, email: &str) -> Outcome {
    let email = Email::parse(email)?;
    let context = open(config).await?;
    let named = Directory::new(context.clone()).named(Some(tenant), None).await?;
    let tenant = named.ok_or(ResolveError::Unknown)?;
    if reset_mfa_for_operator(&context, &tenant, &email).await? {
        println!("the second factor was removed, and every session ended");
    } else {
        println!("the user has no second factor; nothing was changed");
    }
    context.postgres.close().await;
    Ok(())
}

fn password(file: &Path) -> Result<Secret<String>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

async fn open(config: Config) -> Result<Context, OpenError> {
    Context::open(config, Arc::new(SystemClock), Arc::new(OsRandom::new())).await
}

async fn keys(config: Option<&Path>, command: KeysCommand) -> Outcome {
    let new = |algorithm| key_file::generate(algorithm, &SystemClock, &OsRandom::new());
    let ring = match command {
        KeysCommand::Generate { alg } => {
            println!("{}", new(alg)?.entry().expose());
            return Ok(());
        }
        KeysCommand::Rotate { file, alg, keep } => {
            let alg = match alg {
                Some(alg) => alg,
                None => key_file::read(&file)?.current().algorithm,
            };
            key_file::rotate(&file, new(alg)?, keep.into())?
        }
        KeysCommand::List { file } => key_file::read(&file)?,
        KeysCommand::Reseal => return reseal_all(Config::load(Process::Api, config)?).await,
    };
    for key in ring.iter() {
        println!("{} {}", key.id, key.algorithm.as_str());
    }
    Ok(())
}

async fn reseal_all(config: Config) -> Outcome {
    let context = open(config).await?;
    let current = context.config.secrets.data_keys.current().id.clone();
    let done = reseal(&context).await?;
    context.postgres.close().await;
    for column in &done.columns {
        println!("{column}");
    }
    println!(
        "a process that uses another data key than {current:?} goes on sealing with it: once none does, run this again"
    );
    let broken: usize = done.columns.iter().map(|column| column.broken.len()).sum();
    if broken > 0 {
        Err(format!("{broken} values do not open: their key is missing, or they were altered").into())
    } else if done.is_complete {
        println!("nothing is sealed under another key");
        Ok(())
    } else {
        Err("something may be left under another key: rows are held, or processes use another one".into())
    }
}

fn openapi(check: bool) -> Outcome {
    let documents = [
        ("openapi/openapi.json", spec::document()?),
        ("openapi/openapi-3.0.json", spec::document_3_0()?),
    ];
    for (path, document) in documents {
        let text = spec::text(&document)?;
        if !check {
            fs::write(path, text).map_err(|error| format!("{path}: {error}"))?;
        } else if fs::read_to_string(path).unwrap_or_default() != text {
            return Err(format!("{path} differs from the code; run `./dev openapi` and commit it").into());
        }
    }
    Ok(())
}
