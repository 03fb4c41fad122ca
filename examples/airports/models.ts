import { Model, type RelationMappings } from 'objection';

/**
 * An airport of the file `airports.csv`. Each field has `declare`: without `declare`, the class would define the field
 * and overwrite the value that Objection reads with undefined.
 */
export class Airport extends Model {
  static override tableName = 'airport';
  static override idColumn = 'iata';
  static override get relationMappings(): RelationMappings {
    return {
      departures: {
        relation: Model.HasManyRelation,
        modelClass: Route,
        join: { from: 'airport.iata', to: 'route.origin' },
      },
    };
  }

  declare iata: string;
  declare name: string;
  declare city: string | null;
  declare state: string | null;
  declare departures?: Route[];
}

/** The number of flights from one airport to another in one month. */
export class Route extends Model {
  static override tableName = 'route';
  static override idColumn = ['origin', 'destination'];

  declare origin: string;
  declare destination: string;
  declare count: number;
}

/** The busiest airport of a state. */
export class Hub extends Model {
  static override tableName = 'hub';
  static override idColumn = 'state';
  static override get relationMappings(): RelationMappings {
    return {
      airport: {
        relation: Model.BelongsToOneRelation,
        modelClass: Airport,
        join: { from: 'hub.iata', to: 'airport.iata' },
      },
    };
  }

  declare state: string;
  declare iata: string;
  declare flights: number;
  declare destinations: number;
}
