// The API's viewer: with one's own sign-in, which to write needs what a form of ours carries.
"use strict";
const place = document.getElementById("api");
SwaggerUIBundle({
  domNode: place,
  url: "/api/v1/openapi.json",
  validatorUrl: null,
  deepLinking: true,
  docExpansion: "none",
  defaultModelsExpandDepth: -1,
  requestInterceptor: (request) => {
    if (request.method && request.method !== "GET") request.headers["X-Form-Token"] = place.dataset.formToken;
    return request;
  },
});
