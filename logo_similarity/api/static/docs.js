// Addresses are relative to the page, so that it works behind a proxy that puts a prefix before every path.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  syntaxHighlight: false, // colours a hundred hits for seconds
  tryItOutEnabled: true,
  validatorUrl: null, // would send the description to a host of Swagger's makers
});
