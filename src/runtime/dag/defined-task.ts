import type { Place } from '../modules/location.js';
import type { Needs, Task, TaskKind, TaskOptions } from '../tasks/task.js';
import type { TaskBody } from '../tasks/task-body.js';

/** What one call on a Dag's builder says. */
export interface Definition<Id extends string = string> {
  readonly id: Id;
  readonly kind: TaskKind;
  readonly options: TaskOptions<Needs>;
  readonly body: TaskBody;
  readonly place: Place;
}

/** The one implementation of `Task`. A class, and `upstream` not kept, because a Dag can have a million of them. */
export class DefinedTask implements Task {
  readonly id: string;
  readonly index: number;
  readonly kind: TaskKind;
  readonly options: TaskOptions<Needs>;
  readonly body: TaskBody;
  readonly place: Place;

  constructor({ id, kind, options, body, place }: Definition, index: number) {
    this.id = id;
    this.index = index;
    this.kind = kind;
    this.options = options;
    this.body = body;
    this.place = place;
  }

  get upstream(): ReadonlyMap<string, Task> {
    const { needs = [] } = this.options;
    if (Array.isArray(needs)) return new Map((needs as readonly Task[]).map((task) => [task.id, task]));
    return new Map(Object.entries(needs));
  }
}
