// The main navigation. A page that comes joins here, with who may see it; the order is the order on screen (T4, J1).

export interface Destination {
  label: string;
  path: string;
  /** `user`: signed in; `admin`: administrators. */
  who: 'anyone' | 'user' | 'admin';
}

export const destinations: Destination[] = [
  { label: 'Profile', path: '/profile', who: 'user' },
  { label: 'Models', path: '/models', who: 'anyone' },
  { label: 'Connect', path: '/connect', who: 'anyone' },
];

export function destinationsFor(signedIn: boolean, isAdmin: boolean): Destination[] {
  return destinations.filter(({ who }) => who === 'anyone' || (who === 'user' && signedIn) || (who === 'admin' && isAdmin));
}
