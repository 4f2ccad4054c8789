// Opens Swagger UI on the documents that the gateway lists. One that can't be had is marked in the list, and shown as
// a page that says why, instead of as a fault of this page.
'use strict';

// How long a document may take before the list is shown without knowing how it is, in milliseconds.
const PATIENCE = 3000;
const MISSING = ' (not available)';

// Why a document can't be had; empty if it can, or if nobody knows in time.
async function trouble(url) {
  try {
    const answer = await fetch(url, {signal: AbortSignal.timeout(PATIENCE)});
    // Only whether it is there counts here: Swagger UI asks for it again when it is chosen.
    answer.body?.cancel();
    return answer.ok ? '' : `HTTP ${answer.status}`;
  } catch (error) {
    return error.name === 'TimeoutError' ? '' : String(error.message);
  }
}

// What is shown in place of a document that could not be loaded.
function standIn(name, answer) {
  let code = '', message = '';
  try {
    ({code = '', message = ''} = JSON.parse(answer.text).error ?? {});
  } catch {
    // Not the gateway's envelope, so the status alone must do.
  }
  const why = [`**HTTP ${answer.status}**`, code && `\`${code}\``, message].filter(Boolean).join(' ');
  return {
    openapi: '3.1.0',
    info: {
      title: name + MISSING,
      version: 'unknown',
      description: `The gateway has a route to the API description of ${name}, and was answered:\n\n> ${why}\n\n` +
        'Reload this page to look again.',
    },
    paths: {},
  };
}

// The address may name the document to show, else the configuration may. Swagger UI looks for that among the names of now.
function choose(config, shown) {
  const address = new URL(location.href);
  const named = address.searchParams.get('urls.primaryName') ?? config['urls.primaryName'];
  const wanted = named?.replace(MISSING, '');
  const at = config.urls.findIndex(({name}) => name === wanted);
  if (at >= 0) {
    address.searchParams.set('urls.primaryName', shown[at].name);
    history.replaceState(null, '', address);
  }
}

async function open() {
  const config = await (await fetch('/v3/api-docs/swagger-config')).json();
  const named = new Map(config.urls.map(({url, name}) => [new URL(url, location.href).href, name]));
  const urls = await Promise.all(config.urls.map(async ({url, name}) => (
    {url, name: await trouble(url) ? name + MISSING : name}
  )));
  choose(config, urls);
  window.ui = SwaggerUIBundle({
    dom_id: '#swagger-ui',
    urls,
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
    plugins: [SwaggerUIBundle.plugins.DownloadUrl],
    layout: 'StandaloneLayout',
    deepLinking: true,
    displayRequestDuration: true,
    oauth2RedirectUrl: new URL('oauth2-redirect.html', location.href).href,
    // Nothing leaves this machine.
    validatorUrl: null,
    responseInterceptor: (answer) => {
      const name = named.get(new URL(answer.url, location.href).href);
      if (name === undefined || answer.ok) {
        return answer;
      }
      const text = JSON.stringify(standIn(name, answer));
      return Object.assign(answer, {ok: true, status: 200, text, data: text});
    },
  });
}

addEventListener('load', () => open().catch((error) => {
  document.getElementById('swagger-ui').textContent = `The list of documents could not be loaded: ${error.message}`;
}));
