//! `LiveService`.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use tonic::{Request, Response, Status};

use super::backend::Backend;
use super::convert_history;
use super::v1;
use super::v1::live_service_server::LiveService;

pub(super) struct Live {
    pub(super) backend: Arc<dyn Backend>,
}

#[tonic::async_trait]
impl LiveService for Live {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn get_history(
        &self,
        request: Request<v1::GetHistoryRequest>,
    ) -> Result<Response<v1::GetHistoryResponse>, Status> {
        convert_history::told(&*self.backend, request.into_inner()).map(Response::new)
    }
}
