//! A middleware for some requests: others pass beside it and pay nothing for it.

use std::{
    rc::Rc,
    task::{Context, Poll},
};

use actix_service::{Service, Transform};
use actix_web::{
    Error,
    body::{BoxBody, MessageBody},
    dev::{RequestHead, ServiceRequest, ServiceResponse},
};
use futures_util::{
    FutureExt as _, TryFutureExt as _,
    future::{Either, LocalBoxFuture, MapOk},
};

/// A middleware for the requests that it concerns by their head.
pub(super) struct Selective<M> {
    middleware: M,
    concerns: fn(&RequestHead) -> bool,
}

/// The service within, and the same with the middleware around it.
pub(super) struct Selected<S, W> {
    within: Rc<S>,
    around: W,
    concerns: fn(&RequestHead) -> bool,
}

/// The answer of a service, its body in a box.
type Boxed<F, B> = MapOk<F, fn(ServiceResponse<B>) -> ServiceResponse<BoxBody>>;

impl<M> Selective<M> {
    /// This middleware, for requests of which `concerns` is true.
    pub(super) fn new(middleware: M, concerns: fn(&RequestHead) -> bool) -> Self {
        Self { middleware, concerns }
    }
}

impl<S, M, B, C> Transform<S, ServiceRequest> for Selective<M>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    M: Transform<Rc<S>, ServiceRequest, Response = ServiceResponse<C>, Error = Error, InitError = ()>,
    M::Future: 'static,
    B: MessageBody + 'static,
    C: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = Selected<S, M::Transform>;
    type InitError = ();
    type Future = LocalBoxFuture<'static, Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        let (within, concerns) = (Rc::new(service), self.concerns);
        let around = self.middleware.new_transform(Rc::clone(&within));
        around.map_ok(move |around| Selected { within, around, concerns }).boxed_local()
    }
}

impl<S, W, B, C> Service<ServiceRequest> for Selected<S, W>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    W: Service<ServiceRequest, Response = ServiceResponse<C>, Error = Error>,
    B: MessageBody + 'static,
    C: MessageBody + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = Either<Boxed<W::Future, C>, Boxed<S::Future, B>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // The middleware asks the service within.
        self.around.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        if (self.concerns)(request.head()) {
            let boxed: fn(_) -> _ = ServiceResponse::map_into_boxed_body;
            Either::Left(self.around.call(request).map_ok(boxed))
        } else {
            let boxed: fn(_) -> _ = ServiceResponse::map_into_boxed_body;
            Either::Right(self.within.call(request).map_ok(boxed))
        }
    }
}
