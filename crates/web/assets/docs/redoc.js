// Starts Redoc. A file of its own: the content security policy of this page allows no inline script.
Redoc.init("/openapi.json", { sortRequiredPropsFirst: true }, document.getElementById("redoc"));
