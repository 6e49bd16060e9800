//! `LiveService`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::backend::Backend;
use super::convert_history;
use super::convert_live::{picture, views};
use super::detections::{caller, held};
use super::peers::Peers;
use super::status::{of_view, shutting_down};
use super::v1;
use super::v1::live_service_server::LiveService;

pub(super) struct Live {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) peers: Peers,
    /// Ends streams that did not end by themselves in time.
    pub(super) cut: CancellationToken,
}

#[tonic::async_trait]
impl LiveService for Live {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let open = self.peers.open_stream(caller(&request))?;
        let views = views(&request.into_inner())?;
        let pictures = self.backend.watch(views).map_err(|error| of_view(&error))?;
        let responses = pictures
            .map(|next| next.map(picture).map_err(|error| of_view(&error)))
            .take_until(self.cut.clone().cancelled_owned())
            .chain(stream::once(async { Err(shutting_down()) }));
        Ok(Response::new(Box::pin(held(open, responses))))
    }

    async fn get_history(
        &self,
        request: Request<v1::GetHistoryRequest>,
    ) -> Result<Response<v1::GetHistoryResponse>, Status> {
        convert_history::told(&*self.backend, request.into_inner()).map(Response::new)
    }
}
