import type { TestDatabase } from './database.js';
import type { StatementName } from './statement-names.js';

/** The message of every error that an object of the hostile schema raises. */
export const HIJACKED = 'hijacked';

/**
 * Creates the schema `evil` with objects of the given names. Each has the same arguments as an object of PostgreSQL itself,
 * and raises an error when it is used. Some functions and operators also have arguments that fit a careless call better.
 */
export async function createHostileSchema(db: TestDatabase, names: readonly StatementName[]): Promise<void> {
  const list = (kind: StatementName['kind']): readonly string[] => [
    ...new Set(names.filter((each) => each.kind === kind).map(({ name }) => name)),
  ];
  await db.query(`create schema evil`);
  await db.query(`grant usage on schema evil to public`);
  await db.query(CREATE_HELPERS);
  await db.query('select evil_make.functions($1)', [list('function')]);
  await db.query('select evil_make.operators($1)', [list('operator')]);
  await db.query('select evil_make.tables($1)', [list('table')]);
  await db.query('select evil_make.types($1)', [list('type')]);
  await db.query(`
    create function evil.hashtextextended(text, int) returns bigint language plpgsql
      as $$ begin raise exception '${HIJACKED}'; end $$;
    create function evil.equal(varchar, varchar) returns boolean language plpgsql
      as $$ begin raise exception '${HIJACKED}'; end $$;
    create operator evil.= (leftarg = varchar, rightarg = varchar, function = evil.equal);
    drop schema evil_make cascade`);
}

const BODY = `language plpgsql as $f$ begin raise exception using message = $m$${HIJACKED}$m$; end $f$`;

/**
 * Functions that create the hostile objects. An object that PostgreSQL does not let anybody create is left out, such as a
 * function with an argument of the type `internal`.
 */
const CREATE_HELPERS = `
  create schema evil_make;
  create function evil_make.try(sql text) returns void language plpgsql as $$
    begin execute sql; exception when others then null; end $$;
  create function evil_make.functions(names text[]) returns void language plpgsql as $$
    declare f record;
    begin
      for f in select p.oid, proname, pg_get_function_identity_arguments(p.oid) as args, prorettype::regtype as type,
                 prokind, proretset
               from pg_proc p where pronamespace = 'pg_catalog'::regnamespace and proname = any(names) loop
        if f.prokind = 'f' then
          perform evil_make.try(format('create function evil.%I(%s) returns %s %s ${BODY}', f.proname, f.args,
            case when f.proretset then 'setof' end, f.type));
        elsif f.prokind = 'a' then
          perform evil_make.try(format('create function evil.%I(int, %s) returns int ${BODY}', 'step_' || f.oid, f.args));
          perform evil_make.try(format('create aggregate evil.%I(%s) (stype = int, initcond = %L, sfunc = evil.%I)',
            f.proname, coalesce(nullif(f.args, ''), '*'), 0, 'step_' || f.oid));
        end if;
      end loop;
      perform evil_make.try('create function evil.step(int) returns int ${BODY}');
      perform evil_make.try('create aggregate evil.count(*) (stype = int, initcond = 0, sfunc = evil.step)');
    end $$;
  create function evil_make.operators(names text[]) returns void language plpgsql as $$
    declare o record;
    begin
      for o in select oid, oprname, oprleft::regtype as l, oprright::regtype as r, oprresult::regtype as type
               from pg_operator where oprnamespace = 'pg_catalog'::regnamespace and oprname = any(names)
                 and oprleft <> 0 and oprright <> 0 loop
        perform evil_make.try(format('create function evil.%I(%s, %s) returns %s ${BODY}', 'op_' || o.oid, o.l, o.r, o.type));
        perform evil_make.try(format('create operator evil.%s (leftarg = %s, rightarg = %s, function = evil.%I)',
          o.oprname, o.l, o.r, 'op_' || o.oid));
      end loop;
    end $$;
  create function evil_make.tables(names text[]) returns void language plpgsql as $$
    declare n text;
    begin
      foreach n in array names loop perform evil_make.try(format('create table evil.%I (hijacked int)', n)); end loop;
    end $$;
  create function evil_make.types(names text[]) returns void language plpgsql as $$
    declare n text;
    begin
      foreach n in array names loop
        perform evil_make.try(format('create domain evil.%I as pg_catalog.text constraint ${HIJACKED} check (false)', n));
      end loop;
    end $$;`;
