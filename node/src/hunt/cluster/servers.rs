//! The two servers of a cluster: a scheduler that parts plans into tasks, and executors that run them.

use std::fs::DirBuilder;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::utils::default_session_builder;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use clap::Args;
use datafusion::execution::FunctionRegistry;

use super::{MESSAGE, functions, has_port};
use crate::config::explain_io;

/// An executor that was not heard of for so long is taken for dead, and others do its work.
const SILENCE_S: u64 = 15;
const LOOK_S: u64 = 3;
/// How long what a job left is kept, and how often it is looked for.
const KEPT_S: u64 = 3600;
const CLEANING_S: u64 = 600;
/// How long an executor waits for its scheduler.
const PATIENCE_S: u16 = 30;

#[derive(Args)]
pub struct SchedulerArgs {
    /// Where it listens. Who can reach it can run plans on the executors: nobody is asked who he is
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:50050")]
    listen: SocketAddr,
    /// Takes no hunt before there are so many executors
    #[arg(long, value_name = "N", default_value_t = 1)]
    executors: usize,
}

#[derive(Args)]
pub struct ExecutorArgs {
    /// The scheduler to work for
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50050")]
    scheduler: String,
    /// Where it listens for hunts and other executors, at an address that they can reach
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// How many tasks it runs at once [default: as many as there are cores]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    cores: usize,
    /// What its tasks may take in all, MB; what they need beyond goes to the work directory
    #[arg(long, value_name = "MB", default_value_t = 2048)]
    memory: u64,
    /// Where parts of calls lie between tasks, unencrypted: a directory of its own, in memory or on an encrypted disk
    #[arg(long, value_name = "DIR")]
    work_dir: PathBuf,
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// An address in use is said here and now, in a line.
fn is_free(listen: SocketAddr) -> Result<(), String> {
    TcpListener::bind(listen).map(drop).map_err(|error| format!("--listen {listen}: {error}"))
}

pub fn scheduler(args: &SchedulerArgs) -> Outcome {
    let listen = args.listen;
    is_free(listen)?;
    let config = SchedulerConfig {
        bind_host: listen.ip().to_string(),
        bind_port: listen.port(),
        external_host: listen.ip().to_string(),
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        min_ready_executors: args.executors,
        executor_timeout_seconds: SILENCE_S,
        no_executors_grace_period_seconds: SILENCE_S,
        expire_dead_executor_interval_seconds: LOOK_S,
        grpc_server_max_decoding_message_size: MESSAGE as u32,
        grpc_server_max_encoding_message_size: MESSAGE as u32,
        grpc_client_max_message_size: MESSAGE as u32,
        override_session_builder: Some(Arc::new(|config| {
            let mut state = default_session_builder(config)?;
            for function in functions::all() {
                state.register_udf(function)?;
            }
            Ok(state)
        })),
        ..SchedulerConfig::default()
    };
    eprintln!("qalqan: scheduler ready: df://{listen}");
    let served = runtime()?.block_on(async {
        let cluster = BallistaCluster::new_from_config(&config).await?;
        start_server(cluster, listen, Arc::new(config)).await
    });
    Ok(served.map_err(|error| format!("scheduler at {listen}: {error}"))?)
}

pub fn executor(args: &ExecutorArgs) -> Outcome {
    let listen = args.listen;
    if listen.ip().is_unspecified() {
        return Err(
            format!("--listen {listen}: write the address that hunts and other executors reach").into()
        );
    }
    is_free(listen)?;
    let (host, port) = match args.scheduler.rsplit_once(':') {
        Some((host, port)) if has_port(&args.scheduler) => (host, port),
        _ => return Err(format!("--scheduler {}: write HOST:PORT", args.scheduler).into()),
    };
    let shown = args.work_dir.display();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&args.work_dir);
    made.map_err(|error| format!("{shown}: {}", explain_io(&error)))?;
    let mut registry = BallistaFunctionRegistry::default();
    for function in functions::all() {
        registry.scalar_functions.insert(function.name().to_owned(), function);
    }
    let config = ExecutorProcessConfig {
        bind_host: listen.ip().to_string(),
        external_host: Some(listen.ip().to_string()),
        port: listen.port(),
        scheduler_host: host.to_owned(),
        scheduler_port: port.parse()?,
        scheduler_connect_timeout_seconds: PATIENCE_S,
        vcores: args.cores,
        task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
        work_dir: Some(args.work_dir.to_str().ok_or_else(|| format!("{shown}: is not UTF-8"))?.to_owned()),
        job_data_ttl_seconds: KEPT_S,
        job_data_clean_up_interval_seconds: CLEANING_S,
        grpc_max_decoding_message_size: MESSAGE as u32,
        grpc_max_encoding_message_size: MESSAGE as u32,
        memory_pool_size: Some(args.memory << 20),
        override_function_registry: Some(Arc::new(registry)),
        ..ExecutorProcessConfig::default()
    };
    eprintln!("qalqan: executor ready: at {listen}, for the scheduler at {}", args.scheduler);
    let served = runtime()?.block_on(start_executor_process(Arc::new(config)));
    Ok(served.map_err(|error| format!("executor at {listen}: {error}"))?)
}
