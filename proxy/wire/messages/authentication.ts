/** The messages of authentication, both ways: what a server asks and what a client answers. */
import { serialize } from 'pg-protocol';
import { Backend } from '../codes.ts';
import { MalformedMessage, MessageReader } from './reader.ts';
import { Writer, withoutZeroBytes } from './writer.ts';

/** The Int32 that tells the kinds of AuthenticationRequest apart. */
const RequestCode = { ok: 0, cleartext: 3, md5: 5, sasl: 10, saslContinue: 11, saslFinal: 12 } as const;

export type AuthenticationRequest =
  | { readonly kind: 'ok' }
  | { readonly kind: 'cleartext' }
  | { readonly kind: 'md5'; readonly salt: Buffer }
  | { readonly kind: 'sasl'; readonly mechanisms: readonly string[] }
  | { readonly kind: 'sasl-continue'; readonly data: string }
  | { readonly kind: 'sasl-final'; readonly data: string }
  /** Kerberos, GSSAPI, SSPI and whatever comes later. */
  | { readonly kind: 'unsupported'; readonly code: number };

function request(code: number): Writer {
  return new Writer(64).addInt32(code);
}

export const authenticationOk = request(RequestCode.ok).flush(Backend.Authentication);
export const authenticationCleartextPassword = request(RequestCode.cleartext).flush(Backend.Authentication);

export function authenticationMd5Password(salt: Buffer): Buffer {
  return request(RequestCode.md5).add(salt).flush(Backend.Authentication);
}

export function authenticationSasl(mechanisms: readonly string[]): Buffer {
  const writer = request(RequestCode.sasl);
  for (const mechanism of mechanisms) writer.addCString(mechanism);
  return writer.addCString('').flush(Backend.Authentication);
}

export function authenticationSaslContinue(data: string): Buffer {
  return request(RequestCode.saslContinue).addString(data).flush(Backend.Authentication);
}

export function authenticationSaslFinal(data: string): Buffer {
  return request(RequestCode.saslFinal).addString(data).flush(Backend.Authentication);
}

export function readAuthentication(body: Buffer): AuthenticationRequest {
  const reader = new MessageReader(body);
  const code = reader.int32();
  switch (code) {
    case RequestCode.ok:
      reader.end();
      return { kind: 'ok' };
    case RequestCode.cleartext:
      reader.end();
      return { kind: 'cleartext' };
    case RequestCode.md5: {
      const salt = Buffer.from(reader.bytes(4));
      reader.end();
      return { kind: 'md5', salt };
    }
    case RequestCode.sasl: {
      const mechanisms: string[] = [];
      for (let name = reader.cstring(); name !== ''; name = reader.cstring()) mechanisms.push(name);
      reader.end();
      return { kind: 'sasl', mechanisms };
    }
    case RequestCode.saslContinue:
      return { kind: 'sasl-continue', data: reader.rest().toString('utf8') };
    case RequestCode.saslFinal:
      return { kind: 'sasl-final', data: reader.rest().toString('utf8') };
    default:
      return { kind: 'unsupported', code };
  }
}

export function passwordMessage(password: string): Buffer {
  return serialize.password(withoutZeroBytes(password));
}

export function readPassword(body: Buffer): string {
  const reader = new MessageReader(body);
  const password = reader.cstring();
  reader.end();
  return password;
}

export interface SaslInitialResponse {
  readonly mechanism: string;
  /** Null when the client waits for an empty challenge first. */
  readonly data: string | null;
}

export function saslInitialResponse(mechanism: string, data: string): Buffer {
  return serialize.sendSASLInitialResponseMessage(withoutZeroBytes(mechanism), data);
}

export function readSaslInitialResponse(body: Buffer): SaslInitialResponse {
  const reader = new MessageReader(body);
  const mechanism = reader.cstring();
  const length = reader.int32();
  if (length < -1)
    throw new MalformedMessage('invalid message format', `A SASL response claims ${length} bytes.`);
  const data = length === -1 ? null : reader.bytes(length).toString('utf8');
  reader.end();
  return { mechanism, data };
}

export function saslResponse(data: string): Buffer {
  return serialize.sendSCRAMClientFinalMessage(data);
}
