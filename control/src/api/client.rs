//! The client half of the API, for the command line: one request per connection, blocking.

use crate::failure::{FAILED, Failure, PERMISSION, UNREACHABLE};
use crate::view::Fault;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// A question that was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no daemon at {path} ({error}); start one with `pollux lab up FILE` or `pollux run -c FILE`, or name its socket with `--socket`"
    )]
    Unreachable {
        /// Where.
        path: PathBuf,
        /// The answer.
        error: io::Error,
    },
    /// We may not.
    #[error("{0}: permission denied; run as root")]
    Permission(PathBuf),
    /// The daemon went away, or is something else.
    #[error("the daemon did not answer: {0}")]
    Broken(String),
    /// The daemon refused.
    #[error("{}", text(.0))]
    Refused(Fault),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let code = match error {
            ClientError::Unreachable { .. } => UNREACHABLE,
            ClientError::Permission(_) => PERMISSION,
            ClientError::Broken(_) | ClientError::Refused(_) => FAILED,
        };
        Self { code, text: error.to_string() }
    }
}

fn text(fault: &Fault) -> String {
    let all = if fault.problems.is_empty() { std::slice::from_ref(fault) } else { &fault.problems };
    let line = |fault: &Fault| {
        let path = if fault.path.is_empty() { String::new() } else { format!("{}: ", fault.path) };
        let remedy = if fault.remedy.is_empty() { String::new() } else { format!("; {}", fault.remedy) };
        format!("{path}{}{remedy}", fault.error)
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A daemon to ask.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// The daemon that listens at `socket`.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Asks.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.request(&Method::GET, path, None::<&()>)
    }

    /// Asks for a change.
    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.request(&Method::POST, path, Some(body))
    }

    /// Asks for a change of something that is there.
    pub fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        self.request(&Method::PATCH, path, Some(body))
    }

    /// Asks for a removal.
    pub fn delete<T: DeserializeOwned>(&self, path: &str, body: Option<&impl Serialize>) -> Result<T, ClientError> {
        self.request(&Method::DELETE, path, body)
    }

    fn request<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, ClientError> {
        let broken = |error: &dyn std::error::Error| ClientError::Broken(error.to_string());
        let body = body.map(serde_json::to_vec).transpose().map_err(|error| broken(&error))?.unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "pollux")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| broken(&error))?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(|error| broken(&error))?;
        let (ok, bytes) = runtime.block_on(self.exchange(request))?;
        if ok {
            return serde_json::from_slice(&bytes).map_err(|error| broken(&error));
        }
        Err(ClientError::Refused(serde_json::from_slice(&bytes).map_err(|error| broken(&error))?))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(bool, Bytes), ClientError> {
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        crate::socket::fits(&self.socket).map_err(|error| self.unconnected(error))?;
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unconnected(error))?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // ends with the connection; its errors reach the request too
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        let ok = response.status().is_success();
        Ok((ok, response.into_body().collect().await.map_err(broken)?.to_bytes()))
    }

    fn unconnected(&self, error: io::Error) -> ClientError {
        match error.kind() {
            io::ErrorKind::PermissionDenied => ClientError::Permission(self.socket.clone()),
            _ => ClientError::Unreachable { path: self.socket.clone(), error },
        }
    }
}
