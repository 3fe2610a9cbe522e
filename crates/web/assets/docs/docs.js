// Starts Swagger UI. The Authorize button follows from the security schemes of the document.
// A file of its own: the content security policy of this page allows no inline script.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  persistAuthorization: true, // kept in this browser until "Logout" is pressed
  tryItOutEnabled: true,
  validatorUrl: null, // the default hands the document to a foreign server
});
