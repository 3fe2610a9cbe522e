//! The route table by path: 405 with `Allow` for other methods, 404 for other paths.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    dev::Payload,
    http::{
        Method,
        header::{self, HeaderValue},
    },
};
use matchit::Router;

use super::{
    catalogue,
    dispatch::{Endpoint, dispatch},
    error::ApiError,
    local_caller::is_on_this_machine,
    refusal::{UNROUTED, language_of, refuse},
    request_id::routed,
    route::Route,
    service::Service,
};

/// The routes of a service, by path.
pub(super) struct Places<S: Service> {
    app: Arc<S>,
    router: Router<Place<S>>,
}

/// The routes of one path.
struct Place<S: Service> {
    path: &'static str,
    endpoints: Vec<(Method, Rc<Endpoint<S>>)>,
    /// For others the path does not exist.
    is_for_this_machine: bool,
}

impl<S: Service> Places<S> {
    /// The places of these routes.
    #[expect(clippy::expect_used, reason = "a fault of the route table, found by the first start")]
    pub(super) fn new(app: Arc<S>, routes: &[&'static Route<S>]) -> Self {
        let mut places: BTreeMap<&'static str, Place<S>> = BTreeMap::new();
        for route in routes.iter().copied() {
            let place = places.entry(route.path).or_insert_with(|| Place {
                path: route.path,
                endpoints: Vec::new(),
                is_for_this_machine: false,
            });
            place.is_for_this_machine |= app.is_for_this_machine(route.access);
            place.endpoints.push((route.method.clone(), Rc::new(Endpoint::new(route))));
        }
        let mut router = Router::new();
        for (path, place) in places {
            router.insert(path, place).expect("the paths of routes do not contradict one another");
        }
        Self { app, router }
    }

    /// Answers a request.
    pub(super) async fn answer(&self, request: HttpRequest, payload: Payload) -> HttpResponse {
        let place = self.router.at(request.match_info().as_str()).ok().map(|found| found.value);
        let place = place.filter(|place| !place.is_for_this_machine || is_on_this_machine(request.head()));
        let error = match place {
            Some(place) => {
                routed(&request, place.path);
                if let Some(endpoint) = place.endpoint(request.method()) {
                    return dispatch(Arc::clone(&self.app), endpoint, request, payload).await;
                }
                ApiError::new(&catalogue::METHOD_NOT_ALLOWED).header(header::ALLOW, place.allowed())
            }
            None => ApiError::new(&catalogue::NOT_FOUND),
        };
        refuse(&*self.app, &request, language_of(&*self.app, &request), UNROUTED, error)
    }
}

impl<S: Service> Place<S> {
    /// `HEAD` works wherever `GET` does; the body is left out on the wire.
    fn endpoint(&self, wanted: &Method) -> Option<Rc<Endpoint<S>>> {
        let fits = |method: &Method| method == wanted || (*wanted == Method::HEAD && *method == Method::GET);
        self.endpoints.iter().find(|(method, _)| fits(method)).map(|(_, endpoint)| Rc::clone(endpoint))
    }

    fn allowed(&self) -> HeaderValue {
        let mut methods: Vec<&str> = self.endpoints.iter().map(|(method, _)| method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        HeaderValue::from_str(&methods.join(", ")).unwrap_or(HeaderValue::from_static(""))
    }
}
