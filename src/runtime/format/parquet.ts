import type { InputFile } from '../input/source.js';
import type { RowReader } from './rows.js';
export async function openParquet(file: InputFile): Promise<RowReader> {
  throw new Error(file.name);
}
