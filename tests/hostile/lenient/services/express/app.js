// Express as it comes: routes regard neither case nor a trailing slash.
const express = require('express');

const app = express();
app.post('/api/v1/reservations', (request, response) => response.send('reserved'));
app.post('/api/v1/reservations/:id/pay', (request, response) => response.send('paid'));
app.use((error, request, response, next) => response.status(error.status || 500).send('fault'));
const server = app.listen(0, '127.0.0.1', () => console.log('ready', server.address().port));
