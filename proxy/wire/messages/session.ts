/** What a server tells about a session when it begins: parameters, cancel key, readiness. */
import { Backend } from '../codes.ts';
import { MessageReader } from './reader.ts';
import { Writer, withoutZeroBytes } from './writer.ts';

export function parameterStatus(name: string, value: string): Buffer {
  return new Writer()
    .addCString(withoutZeroBytes(name))
    .addCString(withoutZeroBytes(value))
    .flush(Backend.ParameterStatus);
}

export function readParameterStatus(body: Buffer): { readonly name: string; readonly value: string } {
  const reader = new MessageReader(body);
  const name = reader.cstring();
  const value = reader.cstring();
  reader.end();
  return { name, value };
}

/** @param secret 4 bytes in protocol 3.0, up to 256 in 3.2. */
export function backendKeyData(pid: number, secret: Buffer): Buffer {
  return new Writer().addInt32(pid).add(secret).flush(Backend.BackendKeyData);
}

export function readBackendKeyData(body: Buffer): { readonly pid: number; readonly secret: Buffer } {
  const reader = new MessageReader(body);
  const pid = reader.int32();
  return { pid, secret: Buffer.from(reader.rest()) };
}

/** @param status a byte of TransactionStatus */
export function readyForQuery(status: number): Buffer {
  return Buffer.from([Backend.ReadyForQuery, 0, 0, 0, 5, status]);
}

export function readReadyForQuery(body: Buffer): number {
  const reader = new MessageReader(body);
  const status = reader.uint8();
  reader.end();
  return status;
}
