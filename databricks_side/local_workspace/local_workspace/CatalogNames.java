package local;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.antlr.v4.runtime.CharStreams;
import org.antlr.v4.runtime.Token;
import org.apache.spark.sql.SparkSessionExtensions;
import org.apache.spark.sql.catalyst.FunctionIdentifier;
import org.apache.spark.sql.catalyst.TableIdentifier;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.parser.HybridParameterContext;
import org.apache.spark.sql.catalyst.parser.NamedParameterContext;
import org.apache.spark.sql.catalyst.parser.ParameterContext;
import org.apache.spark.sql.catalyst.parser.ParameterHandler;
import org.apache.spark.sql.catalyst.parser.ParseException;
import org.apache.spark.sql.catalyst.parser.ParserInterface;
import org.apache.spark.sql.catalyst.parser.PositionalParameterContext;
import org.apache.spark.sql.catalyst.parser.SqlBaseLexer;
import org.apache.spark.sql.catalyst.parser.UpperCaseCharStream;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.StructType;
import scala.Function1;
import scala.Option;
import scala.collection.immutable.Seq;
import scala.runtime.BoxedUnit;

/**
 * Lets `main.schema.table` name a table of Spark's session catalog, and binds the parameters that Delta's parser drops.
 *
 * Spark's session catalog can only be called `spark_catalog`, and Delta works as the session catalog only. So names are
 * renamed before they are parsed. The work is done on the lexer's tokens: text inside string literals and comments is
 * never touched. Parameters are put in first (as literals, by Spark's own handler), because Delta's parser, which comes
 * next, would drop them (delta-io/delta#7640).
 *
 * Limits, on purpose: a table alias `main` whose struct column is read by two more names (`main.column.field`) is taken
 * for a table; a schema called `main` cannot be named without its catalog.
 */
public final class CatalogNames implements Function1<SparkSessionExtensions, BoxedUnit> {
  private static final String SESSION_CATALOG = "spark_catalog";
  private static final Set<String> CATALOGS = Set.of("main", "hive_metastore");

  @Override
  public BoxedUnit apply(SparkSessionExtensions extensions) {
    extensions.injectParser((session, parser) -> new Parser(parser));
    return BoxedUnit.UNIT;
  }

  private static boolean namesCatalog(String word) {
    return CATALOGS.contains(word.replace("`", "").toLowerCase(Locale.ROOT));
  }

  /** The statement with each catalog name renamed; the same object when there is none. */
  static String rename(String sql) {
    String lower = sql.toLowerCase(Locale.ROOT);
    if (CATALOGS.stream().noneMatch(lower::contains)) return sql;
    Tokens tokens = new Tokens(sql);
    StringBuilder out = new StringBuilder();
    int from = 0;
    for (int i = 0; i < tokens.size(); i++) {
      String replacement = tokens.replacement(i);
      if (replacement == null) continue;
      out.append(sql, from, tokens.start(i)).append(replacement);
      from = tokens.end(i);
    }
    return out.append(sql, from, sql.length()).toString();
  }

  /** The tokens of one statement, without comments and white space. */
  private static final class Tokens {
    private static final Set<String> SCHEMA_WORDS = Set.of("SCHEMA", "DATABASE", "NAMESPACE");
    private static final Set<String> SCHEMA_STATEMENTS = Set.of("CREATE", "DROP", "ALTER", "DESCRIBE", "DESC", "COMMENT");
    private final String sql;
    private final List<Token> tokens = new ArrayList<>();

    Tokens(String sql) {
      this.sql = sql;
      SqlBaseLexer lexer = new SqlBaseLexer(new UpperCaseCharStream(CharStreams.fromString(sql)));
      lexer.removeErrorListeners(); // what is not SQL is reported by the parser, which reads it next
      for (Token token : lexer.getAllTokens()) {
        if (token.getChannel() == Token.DEFAULT_CHANNEL) tokens.add(token);
      }
    }

    int size() { return tokens.size(); }

    int start(int i) { return sql.offsetByCodePoints(0, tokens.get(i).getStartIndex()); }

    int end(int i) { return sql.offsetByCodePoints(0, tokens.get(i).getStopIndex() + 1); }

    private String word(int i) {
      return i >= 0 && i < size() ? tokens.get(i).getText().toUpperCase(Locale.ROOT) : "";
    }

    /** What to write in place of token i, or null to leave it. */
    String replacement(int i) {
      // USE CATALOG x and SET CATALOG x: Spark has USE x.
      if (i == 0 && word(0).equals("SET") && word(1).equals("CATALOG")) return "USE";
      if (i == 1 && word(1).equals("CATALOG") && (word(0).equals("USE") || word(0).equals("SET"))) return "";
      if (word(i - 1).equals("(") && word(i - 2).equals("IDENTIFIER")) return identifierLiteral(tokens.get(i).getText());
      if (!namesCatalog(tokens.get(i).getText()) || word(i - 1).equals(".")) return null;
      boolean named = word(i + 1).equals(".") && (word(i + 3).equals(".") || namesSchema(i));
      return named || standsAlone(i) ? SESSION_CATALOG : null;
    }

    /** IDENTIFIER('main.s.t'): the one place where a string literal is a name. */
    private static String identifierLiteral(String literal) {
      if (literal.length() < 2 || "'\"".indexOf(literal.charAt(0)) < 0) return null;
      int dot = literal.indexOf('.');
      if (dot < 0 || !namesCatalog(literal.substring(1, dot).trim())) return null;
      return literal.charAt(0) + SESSION_CATALOG + literal.substring(dot);
    }

    /** Whether the two-level name at i is a schema's: only certain statements have such names. */
    private boolean namesSchema(int i) {
      String head = word(0);
      if (head.equals("USE")) return true;
      if (head.equals("SHOW")) return word(i - 1).equals("IN") || word(i - 1).equals("FROM");
      if (!SCHEMA_STATEMENTS.contains(head)) return false;
      int before = i - 1;
      while (Set.of("EXISTS", "NOT", "IF", "EXTENDED").contains(word(before))) before--;
      return SCHEMA_WORDS.contains(word(before));
    }

    /** Whether the catalog is named by itself: USE main, USE CATALOG main, SET CATALOG main, SHOW SCHEMAS IN main. */
    private boolean standsAlone(int i) {
      if (word(i + 1).equals(".")) return false;
      String head = word(0);
      String previous = word(i - 1);
      if (head.equals("USE") && i == 1) return true;
      if (head.equals("USE") || head.equals("SET")) return i == 2 && previous.equals("CATALOG");
      return head.equals("SHOW") && (previous.equals("IN") || previous.equals("FROM"));
    }
  }

  /** Delta's parser behind renamed names and bound parameters. */
  private static final class Parser implements ParserInterface {
    private final ParserInterface next;

    Parser(ParserInterface next) { this.next = next; }

    @Override
    public LogicalPlan parsePlan(String sql) throws ParseException { return next.parsePlan(rename(sql)); }

    @Override
    public LogicalPlan parsePlanWithParameters(String sql, ParameterContext parameters) throws ParseException {
      String bound = isEmpty(parameters) ? sql : ParameterHandler.substituteParameters(sql, parameters)._1();
      return parsePlan(bound);
    }

    private static boolean isEmpty(ParameterContext parameters) {
      if (parameters instanceof NamedParameterContext named) return named.params().isEmpty();
      if (parameters instanceof PositionalParameterContext positional) return positional.params().isEmpty();
      return parameters instanceof HybridParameterContext hybrid && hybrid.args().isEmpty();
    }

    @Override
    public LogicalPlan parseQuery(String sql) throws ParseException { return next.parseQuery(rename(sql)); }

    @Override
    public Expression parseExpression(String sql) throws ParseException { return next.parseExpression(rename(sql)); }

    @Override
    public TableIdentifier parseTableIdentifier(String name) throws ParseException {
      Seq<String> parts = next.parseMultipartIdentifier(name);
      if (parts.length() != 3 || !namesCatalog(parts.head())) return next.parseTableIdentifier(rename(name));
      return new TableIdentifier(parts.apply(2), Option.apply(parts.apply(1)), Option.apply(SESSION_CATALOG));
    }

    @Override
    public FunctionIdentifier parseFunctionIdentifier(String name) throws ParseException {
      Seq<String> parts = next.parseMultipartIdentifier(name);
      if (parts.length() != 3 || !namesCatalog(parts.head())) return next.parseFunctionIdentifier(rename(name));
      return new FunctionIdentifier(parts.apply(2), Option.apply(parts.apply(1)), Option.apply(SESSION_CATALOG));
    }

    @Override
    @SuppressWarnings("unchecked")
    public Seq<String> parseMultipartIdentifier(String name) throws ParseException {
      Seq<String> parts = next.parseMultipartIdentifier(name);
      return parts.length() > 1 && namesCatalog(parts.head()) ? (Seq<String>) parts.updated(0, SESSION_CATALOG) : parts;
    }

    @Override
    public StructType parseRoutineParam(String sql) throws ParseException { return next.parseRoutineParam(sql); }

    @Override
    public StructType parseTableSchema(String sql) throws ParseException { return next.parseTableSchema(sql); }

    @Override
    public DataType parseDataType(String sql) throws ParseException { return next.parseDataType(sql); }
  }
}
