/** What the proxy itself asks of a server, in the bytes of node-postgres' serializer. */
import { serialize } from 'pg-protocol';
import { Frontend } from '../codes.ts';
import { Writer, withoutZeroBytes } from './writer.ts';

export type ParameterValue = string | Buffer | null;

export const sync: Buffer = serialize.sync();
export const flush: Buffer = serialize.flush();
export const terminate: Buffer = serialize.end();

export function query(text: string): Buffer {
  return serialize.query(withoutZeroBytes(text));
}

export function parse(name: string, text: string, types: readonly number[] = []): Buffer {
  return serialize.parse({ name: withoutZeroBytes(name), text: withoutZeroBytes(text), types: [...types] });
}

/** Strings go as text, buffers as binary values. */
export function bind(message: {
  readonly portal?: string;
  readonly statement: string;
  readonly values?: readonly ParameterValue[];
  readonly binaryResults?: boolean;
}): Buffer {
  return serialize.bind({
    portal: withoutZeroBytes(message.portal ?? ''),
    statement: withoutZeroBytes(message.statement),
    values: [...(message.values ?? [])],
    binary: message.binaryResults ?? false,
  });
}

/** @param rows 0: all of them */
export function execute(portal = '', rows = 0): Buffer {
  return serialize.execute({ portal: withoutZeroBytes(portal), rows });
}

export function describe(type: 'S' | 'P', name: string): Buffer {
  return serialize.describe({ type, name: withoutZeroBytes(name) });
}

export function close(type: 'S' | 'P', name: string): Buffer {
  return serialize.close({ type, name: withoutZeroBytes(name) });
}

const formatOf = (value: ParameterValue): number => (Buffer.isBuffer(value) ? 1 : 0);

/** Calls a function by its OID: its arguments appear in no SQL text, plan or statement log. */
export function functionCall(oid: number, values: readonly ParameterValue[], binaryResult = true): Buffer {
  const writer = new Writer().addInt32(oid).addInt16(values.length);
  for (const value of values) writer.addInt16(formatOf(value));
  writer.addInt16(values.length);
  for (const value of values) {
    if (value === null) writer.addInt32(-1);
    else if (Buffer.isBuffer(value)) writer.addInt32(value.length).add(value);
    else writer.addInt32PrefixedString(value);
  }
  return writer.addInt16(binaryResult ? 1 : 0).flush(Frontend.FunctionCall);
}
