//! The API: HTTP and JSON on a unix socket, so that `curl --unix-socket` and any language can use it.
//!
//! Handlers own nothing. They send a closure to the supervisor, which owns the switch and runs it between other things, and
//! wait for what it returns: no lock, one owner.

pub mod client;
pub mod supervisor;

use crate::config::{Port, document};
use crate::live::switch::Switch;
use crate::problem::{Problem, Problems};
use crate::view::{Done, Fault, FlushAddresses, Flushed, PinAddress, Stats, Stopped, UnpinAddress, VERSION};
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, FromRequest, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use axum::{Json, Router};
use dataplane::eth::MacAddr;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};

/// Largest body: a port's description is under a kilobyte.
const MAX_BODY: usize = 64 << 10;

/// Something to do with the switch.
pub type Job = Box<dyn FnOnce(&mut Switch) + Send>;

/// Something for the supervisor.
pub enum Message {
    /// Run this.
    Do(Job),
    /// Stop, and say how it went.
    Stop(oneshot::Sender<Stopped>),
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Do(_) => "Do",
            Self::Stop(_) => "Stop",
        })
    }
}

type Supervisor = State<mpsc::Sender<Message>>;

/// Listens at `path`. A socket that answers is another daemon's; one that does not is a dead one's and is replaced.
pub fn listen(path: &std::path::Path) -> io::Result<UnixListener> {
    let listener =
        crate::socket::bind(path, "a daemon listens there already; stop it, or choose another with `--socket PATH`")?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// All there is to ask.
pub fn router(supervisor: mpsc::Sender<Message>) -> Router {
    Router::new()
        .route("/v1/status", get(|s: Supervisor| show(s, Switch::status)))
        .route("/v1/ports", get(|s: Supervisor| show(s, Switch::ports)).post(add_port))
        .route("/v1/ports/{name}", delete(remove_port).patch(change_port))
        .route("/v1/domains/{name}", patch(change_domain))
        .route("/v1/fdb", get(|s: Supervisor| show(s, Switch::fdb)).post(pin).delete(unpin))
        .route("/v1/fdb/flush", post(flush))
        .route("/v1/events", get(|s: Supervisor| show(s, Switch::events)))
        .route("/v1/groups", get(|s: Supervisor| show(s, Switch::groups)))
        .route("/v1/stats", get(stats))
        .route("/v1/stop", post(stop))
        .fallback(nothing_here)
        .method_not_allowed_fallback(nothing_here)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(supervisor)
}

/// An error with its status.
#[derive(Debug)]
struct Refusal(StatusCode, Fault);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

fn refusal(status: StatusCode, problem: Problem) -> Refusal {
    Refusal(status, problem.into())
}

fn gone() -> Refusal {
    refusal(StatusCode::SERVICE_UNAVAILABLE, Problem::new("", "the switch is stopping", "start it again"))
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self { error: problem.what, path: problem.path, remedy: problem.remedy, problems: Vec::new() }
    }
}

impl From<Problems> for Refusal {
    fn from(problems: Problems) -> Self {
        let mut faults: Vec<Fault> = problems.list.into_iter().map(Fault::from).collect();
        let first = faults.first().cloned().unwrap_or_default();
        if faults.len() < 2 {
            faults.clear();
        }
        Self(StatusCode::BAD_REQUEST, Fault { problems: faults, ..first })
    }
}

/// A JSON body; what is wrong with it is said in our words, as JSON.
struct Body<T>(T);

impl<S: Send + Sync, T: DeserializeOwned + JsonSchema> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Refusal> {
        let no_json = |rejection: JsonRejection| {
            let what = match &rejection {
                JsonRejection::MissingJsonContentType(_) => "the body is not declared as JSON",
                JsonRejection::BytesRejection(_) => "the body could not be read, or is longer than 64 KiB",
                _ => "the body is not JSON",
            };
            let remedy = "send a JSON object with `content-type: application/json`";
            refusal(rejection.status(), Problem::new("", what, remedy))
        };
        let Json(value) = Json::from_request(request, state).await.map_err(no_json)?;
        let read = document::from_json("", &value);
        read.map(Self).map_err(|problem| refusal(StatusCode::BAD_REQUEST, problem))
    }
}

/// Runs `job` where the switch is.
async fn ask<T: Send + 'static>(
    supervisor: &mpsc::Sender<Message>,
    job: impl FnOnce(&mut Switch) -> T + Send + 'static,
) -> Result<T, Refusal> {
    let (answer, answered) = oneshot::channel();
    let job = move |switch: &mut Switch| {
        // nobody listens if the client went away meanwhile
        let _ = answer.send(job(switch));
    };
    supervisor.send(Message::Do(Box::new(job))).await.map_err(|_| gone())?;
    answered.await.map_err(|_| gone())
}

async fn show<T: Serialize + Send + 'static>(
    State(supervisor): Supervisor,
    view: fn(&Switch) -> T,
) -> Result<Json<T>, Refusal> {
    ask(&supervisor, move |switch| view(switch)).await.map(Json)
}

/// Asks on the control thread, and waits for the answers on another.
async fn stats(State(supervisor): Supervisor) -> Result<Json<Stats>, Refusal> {
    let asked = ask(&supervisor, |switch| switch.ask_stats()).await?;
    tokio::task::spawn_blocking(|| asked.answer()).await.map(Json).map_err(|_| gone())
}

async fn add_port(State(supervisor): Supervisor, Body(body): Body<serde_json::Value>) -> Result<Json<Done>, Refusal> {
    let (name, port) = named_port(body).map_err(|problem| refusal(StatusCode::BAD_REQUEST, problem))?;
    ask(&supervisor, move |switch| switch.add_port(&name, &port)).await??;
    Ok(Json(Done { v: VERSION }))
}

/// `{"name": ..., ...the port as in the file}`.
fn named_port(mut body: serde_json::Value) -> Result<(String, Port), Problem> {
    let object = body
        .as_object_mut()
        .ok_or_else(|| Problem::new("", "this is no JSON object", "send {\"name\": …, \"kind\": …}"))?;
    let Some(serde_json::Value::String(name)) = object.remove("name") else {
        return Err(Problem::new("name", "the port has no name", "add `\"name\": \"…\"`"));
    };
    let port = document::from_json(&format!("ports.{name}"), &body)?;
    Ok((name, port))
}

/// Keys of the port as in the file; `null` puts one back to its default.
async fn change_port(
    State(supervisor): Supervisor,
    Path(name): Path<String>,
    Body(change): Body<serde_json::Map<String, serde_json::Value>>,
) -> Result<Json<Done>, Refusal> {
    ask(&supervisor, move |switch| switch.change_port(&name, &change)).await??;
    Ok(Json(Done { v: VERSION }))
}

/// The same for a domain.
async fn change_domain(
    State(supervisor): Supervisor,
    Path(name): Path<String>,
    Body(change): Body<serde_json::Map<String, serde_json::Value>>,
) -> Result<Json<Done>, Refusal> {
    ask(&supervisor, move |switch| switch.change_domain(&name, &change)).await??;
    Ok(Json(Done { v: VERSION }))
}

async fn remove_port(State(supervisor): Supervisor, Path(name): Path<String>) -> Result<Json<Done>, Refusal> {
    let port = name.clone();
    let problem = |what: String, remedy| Problem::new(format!("ports.{name}"), what, remedy);
    match ask(&supervisor, move |switch| switch.remove_port(&port)).await? {
        Ok(true) => Ok(Json(Done { v: VERSION })),
        Ok(false) => {
            let problem = problem(format!("there is no port `{name}`"), "`pollux ports` lists them");
            Err(refusal(StatusCode::NOT_FOUND, problem))
        }
        Err(late) => {
            let problem = problem(format!("taken out, but its queues are not back yet: {late}"), "");
            Err(refusal(StatusCode::SERVICE_UNAVAILABLE, problem))
        }
    }
}

fn mac(text: &str) -> Result<MacAddr, Refusal> {
    let wrong = |error: dataplane::eth::ParseMacError| {
        refusal(StatusCode::BAD_REQUEST, Problem::new("mac", format!("`{text}` is {error}"), ""))
    };
    let mac: MacAddr = text.parse().map_err(wrong)?;
    if mac.is_multicast() || mac.is_zero() {
        let problem = Problem::new("mac", format!("{mac} is no address a station can have"), "use a unicast address");
        return Err(refusal(StatusCode::BAD_REQUEST, problem));
    }
    Ok(mac)
}

async fn pin(State(supervisor): Supervisor, Body(body): Body<PinAddress>) -> Result<Json<Done>, Refusal> {
    let mac = mac(&body.mac)?;
    let done = ask(&supervisor, move |switch| switch.pin(mac, &body)).await?;
    done.map_err(|problem| refusal(StatusCode::BAD_REQUEST, problem))?;
    Ok(Json(Done { v: VERSION }))
}

async fn unpin(State(supervisor): Supervisor, Body(body): Body<UnpinAddress>) -> Result<Json<Done>, Refusal> {
    let mac = mac(&body.mac)?;
    let done = ask(&supervisor, move |switch| switch.unpin(mac, &body)).await?;
    match done.map_err(|problem| refusal(StatusCode::BAD_REQUEST, problem))? {
        true => Ok(Json(Done { v: VERSION })),
        false => Err(refusal(
            StatusCode::NOT_FOUND,
            Problem::new("mac", format!("{mac} is not known there"), "`pollux fdb` lists all"),
        )),
    }
}

async fn flush(State(supervisor): Supervisor, Body(body): Body<FlushAddresses>) -> Result<Json<Flushed>, Refusal> {
    let mac = body.mac.as_deref().map(mac).transpose()?;
    let done = ask(&supervisor, move |switch| switch.flush(mac, &body)).await?;
    let entries = done.map_err(|problem| refusal(StatusCode::BAD_REQUEST, problem))?;
    Ok(Json(Flushed { v: VERSION, entries }))
}

async fn stop(State(supervisor): Supervisor) -> Result<Json<Stopped>, Refusal> {
    let (answer, stopped) = oneshot::channel();
    supervisor.send(Message::Stop(answer)).await.map_err(|_| gone())?;
    stopped.await.map(Json).map_err(|_| gone())
}

async fn nothing_here(request: axum::extract::Request) -> Refusal {
    let what = format!("there is no {} {}", request.method(), request.uri().path());
    let remedy = "GET /v1/status, /v1/ports, /v1/fdb, /v1/stats, /v1/events, /v1/groups; POST /v1/ports, /v1/fdb, /v1/fdb/flush, /v1/stop; PATCH /v1/ports/NAME, /v1/domains/NAME; DELETE /v1/ports/NAME, /v1/fdb";
    refusal(StatusCode::NOT_FOUND, Problem::new("", what, remedy))
}
