//! `Expect: 100-continue`: a body is asked for only after everything that the head decides allows it (RFC 9110, 10.1.1).
//!
//! The application itself judges the head: it gets the request without its body, and answers it up to the point where the body
//! would be read.

use std::rc::Rc;

use actix_http::{ConnectionType, HttpMessage as _, Request, Response};
use actix_service::{Service, ServiceFactory, fn_factory, fn_service};
use actix_web::{
    body::{BoxBody, MessageBody},
    dev::ServiceResponse,
};

use super::connection::Line;

/// Marks a request of which only the head is to be judged.
#[derive(Debug, Clone, Copy)]
pub struct HeadOnly;

/// Marks a request whose head was judged before: it is counted already.
#[derive(Debug, Clone, Copy)]
pub struct Continued;

/// Marks the answer to such a request when nothing stands against it.
#[derive(Debug, Clone, Copy)]
pub struct GoOn;

/// A service that lets a request through if the head of it gets no final answer from `application`.
pub fn expectations<A, B>(
    application: A,
) -> impl ServiceFactory<Request, Config = (), Response = Request, Error = Response<BoxBody>, InitError = ()>
where
    A: ServiceFactory<Request, Config = (), Response = ServiceResponse<B>> + 'static,
    A::Error: Into<Response<BoxBody>>,
    B: MessageBody + 'static,
{
    let application = Rc::new(application);
    fn_factory(move || {
        let application = Rc::clone(&application);
        async move {
            let made = application.new_service(()).await.map_err(|_| ())?;
            let judge = Rc::new(made);
            Ok::<_, ()>(fn_service(move |request: Request| {
                let judge = Rc::clone(&judge);
                async move {
                    match refusal(&*judge, &request).await {
                        None => Ok(request),
                        Some(refusal) => Err(refusal),
                    }
                }
            }))
        }
    })
}

async fn refusal<S, B>(judge: &S, request: &Request) -> Option<Response<BoxBody>>
where
    S: Service<Request, Response = ServiceResponse<B>>,
    S::Error: Into<Response<BoxBody>>,
    B: MessageBody + 'static,
{
    let line = request.conn_data::<Rc<Line>>().cloned();
    // Such a request gets no answer at all.
    if line.as_ref().is_some_and(|line| line.is_closing()) {
        return None;
    }
    // Its connection is busy meanwhile, whatever the database takes.
    let answering = line.as_ref().map(Line::answer);
    let mut head = Request::new();
    head.head_mut().clone_from(request.head());
    head.extensions_mut().insert(HeadOnly);
    let judged = judge.call(head).await;
    drop(answering);
    let mut refusal: Response<BoxBody> = match judged {
        Ok(answer) if answer.response().extensions().contains::<GoOn>() => {
            request.extensions_mut().insert(Continued);
            return None;
        }
        Ok(answer) => answer.map_into_boxed_body().into_parts().1.into(),
        Err(error) => error.into(),
    };
    // The client may send the body all the same, so nobody can tell where the next request begins.
    refusal.head_mut().set_connection_type(ConnectionType::Close);
    if let Some(line) = line {
        line.close();
    }
    Some(refusal)
}
