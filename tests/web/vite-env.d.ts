// What the types of Vite say about `import.meta.env`.
interface ImportMeta {
  readonly env: Record<`VITE_${string}`, string>;
}
