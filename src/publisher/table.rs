//! Which subscribers watch which camera, so that a publisher touches no others.

use std::collections::HashMap;
use std::sync::Arc;

use super::subscription::Subscriber;
use crate::camera::CameraId;

/// Subscribers by what they watch. Cloned only when it changes while a publisher reads it.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// Those that watch every camera.
    everything: Vec<Arc<Subscriber>>,
    /// Those that named their cameras, under each of them.
    by_camera: HashMap<CameraId, Vec<Arc<Subscriber>>>,
}

impl Table {
    /// Everybody that watches `camera`.
    pub(super) fn watching(&self, camera: &CameraId) -> impl Iterator<Item = &Arc<Subscriber>> {
        self.everything.iter().chain(self.by_camera.get(camera).into_iter().flatten())
    }

    /// Everybody; those that named several cameras more than once.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Subscriber>> {
        self.everything.iter().chain(self.by_camera.values().flatten())
    }

    pub(super) fn add(&mut self, subscriber: &Arc<Subscriber>) {
        if subscriber.cameras().is_empty() {
            self.everything.push(Arc::clone(subscriber));
        }
        for camera in subscriber.cameras() {
            self.by_camera.entry(camera.clone()).or_default().push(Arc::clone(subscriber));
        }
    }

    pub(super) fn remove(&mut self, subscriber: &Arc<Subscriber>) {
        take(&mut self.everything, subscriber);
        for camera in subscriber.cameras() {
            if let Some(watching) = self.by_camera.get_mut(camera) {
                take(watching, subscriber);
                if watching.is_empty() {
                    self.by_camera.remove(camera);
                }
            }
        }
    }
}

fn take(list: &mut Vec<Arc<Subscriber>>, subscriber: &Arc<Subscriber>) {
    if let Some(at) = list.iter().position(|other| Arc::ptr_eq(other, subscriber)) {
        list.swap_remove(at);
    }
}
