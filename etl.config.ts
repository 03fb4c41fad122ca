import { dag, defineConfig } from '@oneshot/etl';
import { z } from 'zod';
import { Airport, Hub, type Route } from './examples/airports/models.js';

const DATA = 'node_modules/vega-datasets/data';

/**
 * Loads the flights between the airports of the USA in one month, and finds the busiest airport (the hub) of each
 * state.
 */
const airports = dag(
  'airports',
  {
    description: 'Airports and routes of the USA: the hub of each state, and the flights between states.',
    params: z.object({ minFlights: z.coerce.number().int().default(1000) }),
    defaults: { conn: 'warehouse', retries: 2, timeout: '5m' },
  },
  (d) => {
    const tables = d.sql('create-tables', {
      sql: [
        `create table if not exists airport (
           iata text primary key, name text not null, city text, state text, country text not null,
           latitude double precision not null, longitude double precision not null)`,
        `create table if not exists route (
           origin text not null references airport, destination text not null references airport,
           count int not null, primary key (origin, destination))`,
        `create table if not exists hub (
           state text primary key, iata text not null references airport, flights int not null,
           destinations int not null)`,
        `create table if not exists state_pair (
           origin text not null, destination text not null, flights bigint not null,
           primary key (origin, destination))`,
        `truncate airport, route, hub, state_pair`,
      ],
    });

    // The server reads the CSV files by COPY. JavaScript parses nothing.
    const load = d.load('load-airports', {
      needs: [tables],
      from: `${DATA}/airports.csv`,
      into: 'airport',
      mode: 'append',
    });
    const routes = d.load('load-routes', {
      needs: [load],
      from: `${DATA}/flights-airport.csv`,
      into: 'route',
      mode: 'append',
      checks: [{ name: 'no-route-to-itself', sql: 'select from route where origin = destination' }],
    });

    // Models suit work that is complex and has few rows. The whole task is one transaction.
    const hubs = d.session('find-hubs', { needs: { routes } }, async ({ session, params, log }) => {
      const candidates = await Airport.query(session).whereNot('state', 'NA').withGraphFetched('departures');
      const busiest = new Map<string, { airport: Airport; flights: number }>();
      for (const airport of candidates) {
        const flights = total(airport.departures ?? []);
        const state = airport.state ?? '';
        if (flights > (busiest.get(state)?.flights ?? params.minFlights - 1))
          busiest.set(state, { airport, flights });
      }
      await Hub.query(session).upsertGraph(
        [...busiest].map(([state, { airport, flights }]) => ({
          state,
          iata: airport.iata,
          flights,
          destinations: airport.departures?.length ?? 0,
        })),
        { insertMissing: true },
      );
      const top = await Hub.query(session).withGraphJoined('airport').orderBy('flights', 'desc').first();
      log('the busiest hub', { iata: top?.iata, flights: top?.flights });
      return { hubs: busiest.size, busiest: top?.iata ?? null };
    });

    // The database computes the aggregates.
    d.sql('connect-states', {
      needs: { hubs },
      sql: ({ upstream }) => ({
        text: `insert into state_pair (origin, destination, flights)
               select a.state, b.state, sum(r.count)
               from route r join airport a on a.iata = r.origin join airport b on b.iata = r.destination
               where a.state in (select state from hub) and b.state in (select state from hub) and $1::int > 0
               group by a.state, b.state`,
        values: [upstream.hubs.hubs],
      }),
      checks: [
        {
          name: 'every-hub-is-connected',
          sql: 'select from hub where state not in (select origin from state_pair)',
        },
      ],
    });

    d.task('show-connections', { needs: { hubs } }, async ({ connections, upstream, log }) => {
      log('connections with the prefix "ware"', { ids: connections('ware') });
      return { busiest: upstream.hubs.busiest };
    });
  },
);

function total(routes: readonly Route[]): number {
  return routes.reduce((sum, route) => sum + route.count, 0);
}

export default defineConfig({
  dags: [airports],
  // A PostgreSQL inside this process, with its data in a folder. Set ETL_CONN_WAREHOUSE to run the Dag on a server.
  connections: { warehouse: 'pglite:.etl/pgdata' },
});
